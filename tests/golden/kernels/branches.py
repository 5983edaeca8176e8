"""The full neural tangent kernel of `f`, [n1, n2, 2, 2], planned for n1=4, n2=3.

Params: {readout: 6x2, v: 6x6, w: 6x6}, 84 numbers in 3 leaves, float32. x:
float32[n,6]. Axis 0 of x counts examples; n1 and n2 are free.

total 31.8 us: call 4.8 us, forward 10.9 us, sweep 6.22 us, contractions 9.83 us, push
0 s.
total 16.1 kflop, 32.9KiB moved, peak 6.17KiB of at most 16.9GiB.
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

PARAMS = {"readout": "float32[6,2]", "v": "float32[6,6]", "w": "float32[6,6]"}
X = "float32[n,6]"


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
    h0 = (jnp.sum(x[None], axis=-1) > 0.0).astype(jnp.int32)
    h1 = h0 == 0
    h2 = lax.stop_gradient(params["v"][None])
    h3 = jnp.where(h1[:, None, None], params["v"], h2)
    inputs = jnp.where(h1[:, None], x[None], lax.stop_gradient(x[None]))
    v_out = jnp.einsum("bk,bkd->bd", inputs, h3) + taps["v"]
    h4 = h0 == 1
    h5 = lax.stop_gradient(params["w"][None])
    h6 = jnp.where(h4[:, None, None], params["w"], h5)
    h7 = jnp.where(h4[:, None], x[None], lax.stop_gradient(x[None]))

    def step(carry, w_tap):
        carry0, x_carry = carry
        h8 = jnp.tanh(jnp.einsum("bk,bkd->bd", x_carry, h6) + w_tap)
        return (carry0 + 1, h8), x_carry

    (_, h8), w_in = lax.scan(step, (jnp.int32(0), h7), taps["w"].reshape(3, 1, 6))
    readout_in = lax.select_n(jnp.broadcast_to(h0[:, None], (1, 6)), v_out, h8)
    readout_out = readout_in @ params["readout"] + taps["readout"]
    inputs_1 = h1.reshape(()).astype(jnp.float32)
    inputs_2 = h4.reshape(()).astype(jnp.float32)
    activations = {"readout_in": readout_in[0], "inputs": inputs[0],
        "inputs_1": inputs_1, "w_in": w_in.reshape(3, 6),
        "inputs_2": inputs_2}  # fmt: skip
    return readout_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "readout": jnp.zeros(2, jnp.float32),
        "v": jnp.zeros(6, jnp.float32),
        "w": jnp.zeros((3, 6), jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(2, dtype=jnp.float32))
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
    """Returns the kernel, [n1, n2, 2, 2]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents; K1, K2: factors such as
    # scales or slopes.
    a1, c1 = side1
    a2, c2 = side2

    # readout [6x2]: jacobian_contraction, (C1 A1)(C2 A2); 1.37 kflop, 2.34KiB, 2.28 us
    jacobian1 = jnp.einsum("noy,nx->noyx", c1["readout"], a1["readout_in"])
    jacobian2 = jnp.einsum("noy,nx->noyx", c2["readout"], a2["readout_in"])
    theta = inner_products(jacobian1, jacobian2, 2)

    # w [6x6]: jacobian_contraction, ((C1 K1) A1)((C2 K2) A2); 6.78 kflop, 8.16KiB,
    # 4.16 us
    pulled1 = jnp.einsum("nosy,n->noys", c1["w"], a1["inputs_2"])
    jacobian1_k = jnp.einsum("noys,nsx->noyx", pulled1, a1["w_in"])
    pulled2 = jnp.einsum("nosy,n->noys", c2["w"], a2["inputs_2"])
    jacobian2_k = jnp.einsum("noys,nsx->noyx", pulled2, a2["w_in"])
    theta += inner_products(jacobian1_k, jacobian2_k, 2)

    # v [6x6]: structured_derivatives, (C1 C2)((A1 K1)(A2 K2)); 858 flop, 2.07KiB,
    # 3.39 us
    cotangent_gram = jnp.einsum("noy,mpy->nomp", c1["v"], c2["v"])
    scaled1 = a1["inputs"] * a1["inputs_1"][:, None]
    scaled2 = a2["inputs"] * a2["inputs_1"][:, None]
    gram_kk = jnp.einsum("nx,mx->nm", scaled1, scaled2)
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
