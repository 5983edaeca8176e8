"""The full neural tangent kernel of `f`, [n1, n2, 2, 2], planned for n1=4, n2=3.

Params: {a: 20x2, b: 2x20, readout: 20x2, w: 20x20}, 520 numbers in 4 leaves, float32.
x: float32[n,20]. Axis 0 of x counts examples; n1 and n2 are free.

total 16.7 us: call 4.8 us, forward 3.37 us, sweep 1.29 us, contractions 7.27 us, push
0 s.
total 14.4 kflop, 21.8KiB moved, peak 7.74KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2, wrt=...,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

# Leaves marked fixed are not differentiated.
PARAMS = {"a": "float32[20,2]", "b": "float32[2,20]", "readout": "float32[20,2] fixed",
    "w": "float32[20,20] fixed"}  # fmt: skip
X = "float32[n,20]"


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    a_out = x[None] @ (params["w"] + params["a"] @ params["b"]) + taps["a"]
    logits = jax.nn.relu(a_out) @ params["readout"]
    activations = {"x": x}
    factors = {"b": params["b"], "a": params["a"]}
    return logits[0], (activations, factors)


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {"a": jnp.zeros(20, jnp.float32)}


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, (activations, factors) = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(2, dtype=jnp.float32))
    return activations, cotangents, factors


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 2, 2]."""
    check_shapes(params, x1, x2)
    sides = jax.vmap(derivatives, (None, 0), (0, 0, None))
    *side1, factors = sides(params, x1)
    side2 = side1 if x2 is None else sides(params, x2)[:2]
    # A1, A2: activations of x1 and x2; C1, C2: cotangents; K1, K2: factors such as
    # scales or slopes.
    a1, c1 = side1
    a2, c2 = side2

    # a [20x2]: structured_derivatives, ((C1 K1)(C2 K2))(A1 A2); 1.89 kflop, 3.39KiB,
    # 3.64 us
    pulled1 = jnp.einsum("nos,ys->noy", c1["a"], factors["b"])
    pulled2 = jnp.einsum("nos,ys->noy", c2["a"], factors["b"])
    cotangent_gram_kk = jnp.einsum("noy,mpy->nomp", pulled1, pulled2)
    gram = jnp.einsum("nx,mx->nm", a1["x"], a2["x"])
    theta = cotangent_gram_kk * gram[:, None, :, None]

    # b [2x20]: structured_derivatives, (C1 C2)((A1 K1)(A2 K2)); 2.62 kflop, 3.28KiB,
    # 3.63 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["a"], c2["a"])
    scaled1 = jnp.einsum("ns,sy->ny", a1["x"], factors["a"])
    scaled2 = jnp.einsum("ns,sy->ny", a2["x"], factors["a"])
    gram_kk = jnp.einsum("ny,my->nm", scaled1, scaled2)
    theta += cotangent_gram * gram_kk[:, None, :, None]

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
    fixed = ["fixed" in text for text in jax.tree.leaves(PARAMS)]
    leaves, tree = jax.tree.flatten(params)
    free = [leaf for leaf, held in zip(leaves, fixed) if not held]

    def outputs(free, x):
        rest = iter(free)
        pairs = zip(leaves, fixed)
        merged = [leaf if held else next(rest) for leaf, held in pairs]
        params = tree.unflatten(merged)
        return forward(params, x, zero_taps())[0]

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(free, x))
        return [rows.reshape(len(rows), 2, -1) for rows in leaves]

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
