"""The full neural tangent kernel of `f`, [n1, n2, 3, 3], planned for n1=4, n2=3.

Params: [{b: 16, w: 8x16}, {b: 24, w: 16x24}, {b: 12, w: 24x12}, {b: 3, w: 12x3}], 891
numbers in 8 leaves, float32. x: float32[n,8]. Axis 0 of x counts examples; n1 and n2
are free.

total 28.2 us: call 4.8 us, forward 5.19 us, sweep 6.17 us, contractions 12 us, push
0 s.
total 71.2 kflop, 60.6KiB moved, peak 16.8KiB of at most 16.9GiB.
of the divisions into cotangents and NTK-vector products only the likely were compared.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = [{"b": "float32[16]", "w": "float32[8,16]"},
    {"b": "float32[24]", "w": "float32[16,24]"},
    {"b": "float32[12]", "w": "float32[24,12]"},
    {"b": "float32[3]", "w": "float32[12,3]"}]  # fmt: skip
X = "float32[n,8]"


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    layer0_out = 0.49497473 * (x[None] @ params[0]["w"]) + 0.1 * params[0]["b"]
    layer0_out += taps["layer0"]
    layer0_act = jax.nn.gelu(layer0_out)
    layer1_out = 0.35 * (layer0_act @ params[1]["w"]) + 0.1 * params[1]["b"]
    layer1_out += taps["layer1"]
    layer1_act = jax.nn.gelu(layer1_out)
    layer2_out = 0.2857738 * (layer1_act @ params[2]["w"]) + 0.1 * params[2]["b"]
    layer2_out += taps["layer2"]
    layer2_act = jax.nn.gelu(layer2_out)
    layer3_out = 0.40414518 * (layer2_act @ params[3]["w"]) + 0.1 * params[3]["b"]
    layer3_out += taps["layer3"]
    activations = {
        "x": x,
        "layer0_act": layer0_act[0],
        "layer1_act": layer1_act[0],
        "layer2_act": layer2_act[0],
    }
    return layer3_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "layer0": jnp.zeros(16, jnp.float32),
        "layer1": jnp.zeros(24, jnp.float32),
        "layer2": jnp.zeros(12, jnp.float32),
        "layer3": jnp.zeros(3, jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(3, dtype=jnp.float32))
    return activations, cotangents


def cotangent_products(side1, side2, layer, given, factor):
    """What layers add: C1 C2, (C1 C2)(A1 A2), 8 leaves."""
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    (a1, c1), (a2, c2) = side1, side2
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1[layer], c2[layer])
    theta = 0.010000001 * cotangent_gram
    gram = jnp.einsum("nx,mx->nm", a1[given], a2[given])
    theta += factor * (cotangent_gram * gram[:, None, :, None])
    return theta


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 3, 3]."""
    check_shapes(params, x1, x2)
    side1 = jax.vmap(derivatives, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives, (None, 0))(params, x2)

    # 3/b [3], 2/b [12], 1/b [24], 0/b [16]: structured_derivatives, C1 C2; together
    # 12.3 kflop, 11.3KiB, 5.07 us
    # 3/w [12x3], 2/w [24x12], 1/w [16x24], 0/w [8x16]: structured_derivatives,
    # (C1 C2)(A1 A2); together 2.3 kflop, 10.5KiB, 6.95 us
    theta = cotangent_products(side1, side2, "layer3", "layer2_act", factor=0.16333333)
    theta += cotangent_products(side1, side2, "layer2", "layer1_act", factor=0.08166667)
    theta += cotangent_products(
        side1, side2, "layer1", "layer0_act", factor=0.122499995
    )
    theta += cotangent_products(side1, side2, "layer0", "x", factor=0.24499999)

    return theta.transpose(0, 2, 1, 3)


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
    return sum(jnp.einsum("noz,mpz->nmop", *pair) for pair in sides)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    params = random_like(PARAMS, 0)
    x1, x2 = random_like(X, 1, n=3), random_like(X, 2, n=2)
    errors = []
    for other in (x2, None):
        got = kernel(params, x1, other)
        wanted = dense_kernel(params, x1, x1 if other is None else other)
        errors.append(abs(got - wanted).max() / abs(wanted).max())
    worst = numpy.max(errors)
    print(f"largest relative error {worst:.1e}, against dense Jacobians")
    raise SystemExit(0 if worst < 0.001 else 1)
