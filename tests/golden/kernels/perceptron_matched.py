"""The full neural tangent kernel of `f`, [n, 3, 3], planned for n1=4, n2=4.

Params: [{b: 16, w: 8x16}, {b: 16, w: 16x16}, {b: 3, w: 16x3}], 467 numbers in 6 leaves,
float32. x: float32[n,8]. Axis 0 of x counts examples; n1 and n2 are free.

total 20.2 us: call 4.8 us, forward 3.73 us, sweep 2.85 us, contractions 8.83 us, push
0 s.
total 26.2 kflop, 27.7KiB moved, peak 11.4KiB of at most 16.9GiB.
of the divisions into cotangents and NTK-vector products only the likely were compared.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
pairs="matched", device="golden_cpu"). Run as a program, it compares itself with dense
Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = [{"b": "float32[16]", "w": "float32[8,16]"},
    {"b": "float32[16]", "w": "float32[16,16]"},
    {"b": "float32[3]", "w": "float32[16,3]"}]  # fmt: skip
X = "float32[n,8]"


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    layer0_out = x[None] @ params[0]["w"] + params[0]["b"] + taps["layer0"]
    layer0_act = jax.nn.relu(layer0_out)
    layer1_out = layer0_act @ params[1]["w"] + params[1]["b"] + taps["layer1"]
    layer1_act = jax.nn.relu(layer1_out)
    layer2_out = layer1_act @ params[2]["w"] + params[2]["b"] + taps["layer2"]
    activations = {"x": x, "layer0_act": layer0_act[0], "layer1_act": layer1_act[0]}
    return layer2_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "layer0": jnp.zeros(16, jnp.float32),
        "layer1": jnp.zeros(16, jnp.float32),
        "layer2": jnp.zeros(3, jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(3, dtype=jnp.float32))
    return activations, cotangents


def cotangent_products(side1, side2, layer, given):
    """What layers add: C1 C2, (C1 C2)(A1 A2), 6 leaves."""
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    (a1, c1), (a2, c2) = side1, side2
    cotangent_gram = jnp.einsum("noy,npy->nop", c1[layer], c2[layer])
    theta = cotangent_gram
    gram = jnp.einsum("nx,nx->n", a1[given], a2[given])
    theta += cotangent_gram * gram[:, None, None]
    return theta


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n, 3, 3]."""
    check_shapes(params, x1, x2)
    side1 = jax.vmap(derivatives, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives, (None, 0))(params, x2)

    # 2/b [3], 1/b [16], 0/b [16]: structured_derivatives, C1 C2; together 2.63 kflop,
    # 4.97KiB, 3.94 us
    # 2/w [16x3], 1/w [16x16], 0/w [8x16]: structured_derivatives, (C1 C2)(A1 A2);
    # together 536 flop, 3.45KiB, 4.89 us
    theta = cotangent_products(side1, side2, "layer2", "layer1_act")
    theta += cotangent_products(side1, side2, "layer1", "layer0_act")
    theta += cotangent_products(side1, side2, "layer0", "x")

    return theta


def shapes(tree, batch_axis=None):
    """Data types and shapes by their place, the number of examples as n."""
    found = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, str):
            sizes = [str(size) for size in leaf.shape]
            if batch_axis in range(-len(sizes), len(sizes)):
                sizes[batch_axis] = "n" if leaf.shape[batch_axis] else "n=0"
            leaf = f"{leaf.dtype}[{','.join(sizes)}]"
        found[jax.tree_util.keystr(keys)] = leaf.split()[0]
    return found


def check_shapes(params, x1, x2=None):
    """Raises ValueError where something else was planned for; n is free, from 1 on."""
    given = {"params": params, "x1": x1, "x2": x1 if x2 is None else x2}
    for name, tree in given.items():
        table, axis = (PARAMS, None) if name == "params" else (X, 0)
        got, planned = shapes(tree, axis), shapes(table)
        for place in planned | got:
            found = got.get(place, "missing" if place else f"a {type(tree).__name__}")
            if found != (wanted := planned.get(place, "nothing")):
                least = "n is at least 1. " if "n=0" in found else ""
                found = shapes(tree).get(place, found)
                raise ValueError(
                    f"{name}{place} is {found}, planned: {wanted}. {least}"
                    "The call that plans again is in the docstring."
                )
    for arrays in [(x1, x2)]:
        leaves = jax.tree.leaves(arrays)
        counts = dict.fromkeys(leaf.shape[0] for leaf in leaves)
        if len(counts) > 1:
            held = " and ".join(map(str, counts))
            raise ValueError(f"x1 and x2 hold different numbers of examples: {held}")


def random_like(planned, seed, n=None):
    """Random arrays; vectors are positive, as variances have to be."""
    rng = numpy.random.default_rng(seed)

    def draw(text):
        dtype, sizes = text.split("]")[0].split("[")
        shape = [int(n if k == "n" else k) for k in sizes.split(",") if k]
        if n is None and len(shape) < 2:
            return jnp.asarray(rng.uniform(0.5, 1.5, shape), dtype)
        scale = 1.0 if n else numpy.prod(shape[:-1]) ** -0.5
        return jnp.asarray(scale * rng.normal(size=shape), dtype)

    return jax.tree.map(draw, planned)


@jax.jit
def dense_kernel(params, x1, x2):
    """The kernel by dense Jacobians, to check `kernel` with."""

    def outputs(params, x):
        return forward(params, x, zero_taps())[0]

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), 3, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("noz,npz->nop", *pair) for pair in sides)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    params = random_like(PARAMS, 0)
    x1, x2 = random_like(X, 1, n=3), random_like(X, 2, n=3)
    errors = []
    for other in (x2, None):
        got = kernel(params, x1, other)
        wanted = dense_kernel(params, x1, x1 if other is None else other)
        errors.append(abs(got - wanted).max() / abs(wanted).max())
    worst = numpy.max(errors)
    print(f"largest relative error {worst:.1e}, against dense Jacobians")
    raise SystemExit(0 if worst < 0.001 else 1)
