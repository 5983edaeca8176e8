"""The full neural tangent kernel of `f`, [n1, n2, 2, 2], planned for n1=4, n2=3.

Params: {w1: 6x10, w2: 10x10, w3: 10x2}, 180 numbers in 3 leaves, float32. x:
float32[n,6]. Axis 0 of x counts examples; n1 and n2 are free.

total 17.9 us: call 4.8 us, forward 3.03 us, sweep 3.06 us, contractions 6.98 us, push
0 s.
total 9.74 kflop, 15.1KiB moved, peak 5.21KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = {"w1": "float32[6,10]", "w2": "float32[10,10]", "w3": "float32[10,2]"}
X = "float32[n,6]"


@jax.custom_jvp
def smooth(x):
    return jnp.where(x > 0.0, x, 0.1 * x)


@smooth.defjvp
def smooth_jvp(primals, tangents):
    (x,) = primals
    (dx,) = tangents
    return smooth(x), jnp.where(x > 0.0, jnp.float32(1.0), 0.2) * dx


@jax.custom_vjp
def clipped(x):
    return x


def clipped_fwd(x):
    return x, None


def clipped_bwd(_, cotangent):
    return (jnp.clip(cotangent, -0.5, 0.5),)


clipped.defvjp(clipped_fwd, clipped_bwd)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    w1_out = x[None] @ params["w1"] + taps["w1"]
    w1_act = smooth(w1_out)
    w2_out = w1_act @ params["w2"] + taps["w2"]
    w2_act = clipped(jnp.sin(w2_out))
    w3_out = w2_act @ params["w3"] + taps["w3"]
    activations = {"x": x, "w1_act": w1_act[0], "w2_act": w2_act[0]}
    return w3_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "w1": jnp.zeros(10, jnp.float32),
        "w2": jnp.zeros(10, jnp.float32),
        "w3": jnp.zeros(2, jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(2, dtype=jnp.float32))
    return activations, cotangents


def gram_products(side1, side2, layer, given):
    """Products of two Grams: structured_derivatives, (C1 C2)(A1 A2), 3 leaves."""
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    (a1, c1), (a2, c2) = side1, side2
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1[layer], c2[layer])
    gram = jnp.einsum("nx,mx->nm", a1[given], a2[given])
    return cotangent_gram * gram[:, None, :, None]


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 2, 2]."""
    check_shapes(params, x1, x2)
    side1 = jax.vmap(derivatives, (None, 0))(params, x1)
    side2 = side1 if x2 is None else jax.vmap(derivatives, (None, 0))(params, x2)

    # w3 [10x2], w2 [10x10], w1 [6x10]: together 3.02 kflop, 5.57KiB, 6.98 us
    theta = gram_products(side1, side2, "w3", "w2_act")
    theta += gram_products(side1, side2, "w2", "w1_act")
    theta += gram_products(side1, side2, "w1", "x")

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
