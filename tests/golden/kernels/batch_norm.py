"""The full neural tangent kernel of `f`, [4, 4, 2, 2].

Params: {scale: 8, shift: 8, w1: 6x8, w2: 8x2}, 80 numbers in 4 leaves, float32. x:
float32[4,6]. The number of examples is fixed too.

total 19.1 us: call 4.8 us, forward 3.56 us, sweep 0 s, contractions 0 s, push 10.7 us.
total 25.4 kflop, 43.8KiB moved, peak 3.73KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
batch_axis=None, device="golden_cpu"). Run as a program, it compares itself with dense
Jacobians.
"""

import jax
import jax.numpy as jnp
import numpy

PARAMS = {"scale": "float32[8]", "shift": "float32[8]", "w1": "float32[6,8]",
    "w2": "float32[8,2]"}  # fmt: skip
X = "float32[4,6]"


def forward(params, x, shifts):
    """Outputs of the batch."""
    scale, shift, w1, w2 = params["scale"], params["shift"], params["w1"], params["w2"]
    scale = scale + shifts["scale"]
    shift = shift + shifts["shift"]
    w1 = w1 + shifts["w1"]
    w2 = w2 + shifts["w2"]
    h0 = x @ w1
    h1 = jnp.sqrt(jnp.var(h0, axis=0) + 1e-05)
    h2 = (h0 - jnp.mean(h0, axis=0)) / h1
    h3 = jax.nn.relu(h2 * scale + shift)
    logits = h3 @ w2
    return logits.reshape(8)


def zero_shifts():
    """Zeros to add to leaves in the forward pass."""
    return {
        "scale": jnp.zeros(8, jnp.float32),
        "shift": jnp.zeros(8, jnp.float32),
        "w1": jnp.zeros((6, 8), jnp.float32),
        "w2": jnp.zeros((8, 2), jnp.float32),
    }


def pushed(params, x1, x2):
    """NTK-vector products: pull back at x2, push forward at x1."""
    shifts = zero_shifts()
    basis = jnp.eye(8, dtype=jnp.float32)

    def outputs(x):
        return lambda shifts: forward(params, x, shifts)

    def columns(x, push):
        _, pull_back = jax.vjp(outputs(x), shifts)
        return jax.lax.map(lambda row: push(*pull_back(row)), basis)

    _, push = jax.linearize(
        lambda shifts: jax.vmap(lambda x: outputs(x)(shifts))(x1), shifts
    )
    parts = jax.lax.map(lambda x: columns(x, push), x2)
    parts = parts.reshape(parts.shape[0], 8, -1, 8)
    return jnp.einsum("mpno->nomp", parts)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [4, 4, 2, 2]."""
    check_shapes(params, x1, x2)
    x1 = jax.tree.map(lambda array: array[None], x1)
    x2 = None if x2 is None else jax.tree.map(lambda array: array[None], x2)

    # scale [8], shift [8], w* [6x8 to 8x2]: ntk_vector_products, pull back, push
    # forward
    theta = pushed(params, x1, x1 if x2 is None else x2)

    return theta.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3)


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
    """Raises ValueError where something else was planned for."""
    given = {"params": params, "x1": x1, "x2": x1 if x2 is None else x2}
    for name, tree in given.items():
        table = PARAMS if name == "params" else X
        got, planned = shapes(tree), shapes(table)
        for place in planned | got:
            found = got.get(place, "missing" if place else f"a {type(tree).__name__}")
            if found != (wanted := planned.get(place, "nothing")):
                raise ValueError(
                    f"{name}{place} is {found}, planned: {wanted}. "
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
        leaves = jax.tree.leaves(jax.jacrev(outputs)(params, x))
        return [rows.reshape(4, 2, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("oqz,prz->opqr", *pair) for pair in sides)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    params = random_like(PARAMS, 0)
    x1, x2 = random_like(X, 1), random_like(X, 2)
    errors = []
    for other in (x2, None):
        got = kernel(params, x1, other)
        wanted = dense_kernel(params, x1, x1 if other is None else other)
        errors.append(abs(got - wanted).max() / abs(wanted).max())
    worst = numpy.max(errors)
    print(f"largest relative error {worst:.1e}, against dense Jacobians")
    raise SystemExit(0 if worst < 0.001 else 1)
