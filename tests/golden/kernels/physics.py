"""The full neural tangent kernel of `f`, [n1, n2, 1, 1], planned for n1=4, n2=3.

Params: {b1: 12, w1: 2x12, w2: 12x12, w3: 12}, 192 numbers in 4 leaves, float32. x:
float32[n,2]. Axis 0 of x counts examples; n1 and n2 are free.

total 39.8 us: call 4.8 us, forward 11.4 us, sweep 0 s, contractions 0 s, push 23.6 us.
total 113 kflop, 172KiB moved, peak 16.1KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = {"b1": "float32[12]", "w1": "float32[2,12]", "w2": "float32[12,12]",
    "w3": "float32[12]"}  # fmt: skip
X = "float32[n,2]"


def forward(params, x, shifts):
    """Outputs of one example."""
    b1, w1, w2, w3 = params["b1"], params["w1"], params["w2"], params["w3"]
    b1 = b1 + shifts["b1"]
    w1 = w1 + shifts["w1"]
    w2 = w2 + shifts["w2"]
    w3 = w3 + shifts["w3"]
    h0 = jnp.eye(2, dtype=jnp.float32) @ w1
    h1 = jnp.tanh(x[None] @ w1 + b1)
    h2 = (h0 + h0[None] * h1[:, None]) * (1.0 - h1)[:, None]
    h3 = 1.0 - h1
    h4 = -h2
    h5 = h2 @ w2
    h6 = jnp.tanh(h1 @ w2)
    h7 = (h5 + h5 * h6[:, None]) * (1.0 - h6)[:, None]
    h8 = jnp.einsum("b,h->bh", jnp.eye(1, dtype=jnp.float32).reshape(1), w3)
    h9 = h8[None] * (1.0 - h6)[:, None]
    h10 = h8[None, None] * (-h7)[:, :, None]
    h11 = h10 + (h10 * h6[:, None, None] + h9[:, None] * h7[:, :, None])
    h12 = (h9 + h9 * h6[:, None]) @ w2.T
    h13 = (h11 @ w2.T) * h3[:, None, None] + h12[:, None] * h4[:, :, None]
    h14 = h13 * h1[:, None, None] + (h12 * h3[:, None])[:, None] * h2[:, :, None]
    h15 = ((h13 + h14) @ w1.T).reshape(1, 2, 2)
    h16 = jnp.where(jnp.eye(2, dtype=jnp.bool_), h15.transpose(0, 2, 1), 0.0)
    logits = jnp.sum(h16, axis=(1, 2))[:, None]
    return logits[0]


def zero_shifts():
    """Zeros to add to leaves in the forward pass."""
    return {
        "b1": jnp.zeros(12, jnp.float32),
        "w1": jnp.zeros((2, 12), jnp.float32),
        "w2": jnp.zeros((12, 12), jnp.float32),
        "w3": jnp.zeros(12, jnp.float32),
    }


def pushed(params, x1, x2):
    """NTK-vector products: pull back at x2, push forward at x1."""
    shifts = zero_shifts()
    basis = jnp.eye(1, dtype=jnp.float32)

    def outputs(x):
        return lambda shifts: forward(params, x, shifts)

    def columns(x, push):
        _, pull_back = jax.vjp(outputs(x), shifts)
        return jax.lax.map(lambda row: push(*pull_back(row)), basis)

    _, push = jax.linearize(
        lambda shifts: jax.vmap(lambda x: outputs(x)(shifts))(x1), shifts
    )
    parts = jax.lax.map(lambda x: columns(x, push), x2)
    return jnp.einsum("mpno->nm", parts)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 1, 1]."""
    check_shapes(params, x1, x2)

    # b1 [12], w* [2x12 to 12]: ntk_vector_products, pull back, push forward
    theta = pushed(params, x1, x1 if x2 is None else x2)

    return theta.reshape(theta.shape[0], 1, theta.shape[1], 1).transpose(0, 2, 1, 3)


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
        return forward(params, x, zero_shifts())

    def jacobians(x):
        leaves = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(params, x))
        return [rows.reshape(len(rows), 1, -1) for rows in leaves]

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
