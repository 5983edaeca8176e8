"""The full neural tangent kernel of `f`, [n1, n2, 3, 3], planned for n1=4, n2=3.

Params: {b: 12, readout: 12x3, u: 12x12, w: 5x12}, 252 numbers in 4 leaves, float32. x:
float32[n,7,5]. Axis 0 of x counts examples; n1 and n2 are free.

total 49.4 us: call 4.8 us, forward 14.9 us, sweep 10.7 us, contractions 19 us, push
0 s.
total 179 kflop, 154KiB moved, peak 33.2KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import math

import jax
import jax.numpy as jnp
import numpy
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

PARAMS = {"b": "float32[12]", "readout": "float32[12,3]", "u": "float32[12,12]",
    "w": "float32[5,12]"}  # fmt: skip
X = "float32[n,7,5]"


def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))


def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    h0 = x[None].transpose(1, 0, 2)

    def step(state, xs):
        given, b_tap = xs
        h1 = given @ params["w"] + state @ params["u"] + params["b"]
        return jnp.tanh(h1 + b_tap), (state, given)

    readout_in, (u_in, w_in) = lax.scan(
        step, jnp.zeros((1, 12), dtype=jnp.float32), (h0, taps["b"].reshape(7, 1, 12))
    )
    readout_out = readout_in @ params["readout"] + taps["readout"]
    activations = {
        "readout_in": readout_in[0],
        "u_in": u_in.reshape(7, 12),
        "w_in": w_in.reshape(7, 5),
    }
    return readout_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {"b": jnp.zeros((7, 12), jnp.float32), "readout": jnp.zeros(3, jnp.float32)}


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(3, dtype=jnp.float32))
    return activations, jax.tree.map(in_order, cotangents)


def both_sides(params, x1, x2):
    """The sides of x1 and x2, by one sweep, which is sooner compiled."""
    if x2 is None:
        side = jax.vmap(derivatives, (None, 0))(params, x1)
        return side, side
    n1 = jax.tree.leaves(x1)[0].shape[0]
    x = jax.tree.map(lambda *x: jnp.concatenate(x), x1, x2)
    both = jax.vmap(derivatives, (None, 0))(params, x)
    first = jax.tree.map(lambda a: a[:n1], both)
    return first, jax.tree.map(lambda a: a[n1:], both)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 3, 3]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    a1, c1 = side1
    a2, c2 = side2

    # readout [12x3]: structured_derivatives, (C1 C2)(A1 A2); 1.15 kflop, 3.2KiB,
    # 2.37 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["readout"], c2["readout"])
    gram = jnp.einsum("nx,mx->nm", a1["readout_in"], a2["readout_in"])
    theta = cotangent_gram * gram[:, None, :, None]

    # b [12]: structured_derivatives, C1 C2; 4.46 kflop, 10.5KiB, 3.12 us
    sum_c1 = c1["b"].sum(axis=2)
    sum_c2 = c2["b"].sum(axis=2)
    theta += jnp.einsum("noy,mpy->nomp", sum_c1, sum_c2)

    # u [12x12]: jacobian_contraction, (C1 A1)(C2 A2); 73.5 kflop, 48.3KiB, 7.44 us
    jacobian1 = jnp.einsum("nosy,nsx->noyx", c1["b"], a1["u_in"])
    jacobian2 = jnp.einsum("nosy,nsx->noyx", c2["b"], a2["u_in"])
    theta += inner_products(jacobian1, jacobian2, 2)

    # w [5x12]: jacobian_contraction, (C1 A1)(C2 A2); 30.7 kflop, 33.2KiB, 6.05 us
    jacobian1 = jnp.einsum("nosy,nsx->noyx", c1["b"], a1["w_in"])
    jacobian2 = jnp.einsum("nosy,nsx->noyx", c2["b"], a2["w_in"])
    theta += inner_products(jacobian1, jacobian2, 2)

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
