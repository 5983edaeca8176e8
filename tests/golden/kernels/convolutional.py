"""The full neural tangent kernel of `f`, [n1, n2, 5, 5], planned for n1=4, n2=3.

Params: {conv1: {bias: 8, kernel: 3x3x3x8}, conv2: {bias: 8, kernel: 3x3x8x8}, dense:
{bias: 5, kernel: 128x5}}, 1,453 numbers in 6 leaves, float32. x: float32[n,16,16,3].
Axis 0 of x counts examples; n1 and n2 are free.

total 134 us: call 4.8 us, forward 23.2 us, sweep 34.3 us, contractions 72 us, push 0 s.
total 3.01 Mflop, 1.52MiB moved, peak 426KiB of at most 16.9GiB.
of the divisions into cotangents and NTK-vector products only the likely were compared.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu"). Run as a program, it compares itself with dense Jacobians.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

PARAMS = {"conv1": {"bias": "float32[8]", "kernel": "float32[3,3,3,8]"},
    "conv2": {"bias": "float32[8]", "kernel": "float32[3,3,8,8]"},
    "dense": {"bias": "float32[5]", "kernel": "float32[128,5]"}}  # fmt: skip
X = "float32[n,16,16,3]"


def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))


def windows_and_one(x, window, strides):
    """Cuts windows and features as rows, and puts a one after each, for the bias."""
    sizes = x.shape[-1 - len(window) : -1]
    padding = jax.lax.padtype_to_pads(sizes, window, strides, "SAME")
    x = jnp.pad(x, [(0, 0)] * (x.ndim - len(window) - 1) + [*padding, (0, 0)])
    pieces = []
    for offset in itertools.product(*map(range, window)):
        spatial = zip(offset, x.shape[-1 - len(window) :], window, strides)
        cut = [slice(i, i + size - k + 1, step) for i, size, k, step in spatial]
        pieces.append(x[..., *cut, :])
    one = jnp.ones((*pieces[0].shape[:-1], 1), x.dtype)
    return jnp.concatenate([*pieces, one], axis=-1)


def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    h0 = lax.conv_general_dilated(
        x[None],
        params["conv1"]["kernel"],
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    conv1_out = in_order(h0 + params["conv1"]["bias"] + taps["conv1"])
    conv1_act = jax.nn.gelu(conv1_out)
    h1 = lax.conv_general_dilated(
        conv1_act,
        params["conv2"]["kernel"],
        (2, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    conv2_out = in_order(h1 + params["conv2"]["bias"] + taps["conv2"])
    conv2_act = jax.nn.gelu(conv2_out).reshape(1, 128)
    dense_out = conv2_act @ params["dense"]["kernel"] + params["dense"]["bias"]
    dense_out += taps["dense"]
    activations = {"x": x, "conv1_act": conv1_act[0], "conv2_act": conv2_act[0]}
    return dense_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "conv1": jnp.zeros((8, 8, 8), jnp.float32),
        "conv2": jnp.zeros((4, 4, 8), jnp.float32),
        "dense": jnp.zeros(5, jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(5, dtype=jnp.float32))
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
    """Returns the kernel, [n1, n2, 5, 5]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    a1, c1 = side1
    a2, c2 = side2

    # dense/bias [5]: structured_derivatives, C1 C2; 3.3 kflop, 5.37KiB, 1.34 us
    # dense/kernel [128x5]: structured_derivatives, (C1 C2)(A1 A2); 3.67 kflop, 9.45KiB,
    # 2.17 us
    cotangent_gram_dense = jnp.einsum("noy,mpy->nomp", c1["dense"], c2["dense"])
    theta = cotangent_gram_dense
    gram = jnp.einsum("nx,mx->nm", a1["conv2_act"], a2["conv2_act"])
    theta += cotangent_gram_dense * gram[:, None, :, None]

    # conv2/kernel [3x3x8x8]: structured_derivatives, C1 ((A1 A2) C2); 765 kflop,
    # 300KiB, 23.6 us
    # with biases: conv2/bias [8]
    windows1 = windows_and_one(a1["conv1_act"], (3, 3), (2, 2))
    windows2 = windows_and_one(a2["conv1_act"], (3, 3), (2, 2))
    gram = jnp.einsum("nijx,mstx->nijmst", windows1, windows2)
    product_a1a2c2 = jnp.einsum("nijmst,mpsty->mnijpy", gram, c2["conv2"])
    theta += jnp.einsum("noijy,mnijpy->nomp", c1["conv2"], product_a1a2c2)

    # conv1/kernel [3x3x3x8]: jacobian_contraction, (C1 A1)(C2 A2); 1.1 Mflop, 416KiB,
    # 32.5 us
    # with biases: conv1/bias [8]
    windows1 = windows_and_one(a1["x"], (3, 3), (2, 2))
    jacobian1 = jnp.einsum("noijy,nijx->noyx", c1["conv1"], windows1)
    windows2 = windows_and_one(a2["x"], (3, 3), (2, 2))
    jacobian2 = jnp.einsum("noijy,nijx->noyx", c2["conv1"], windows2)
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
        return [rows.reshape(len(rows), 5, -1) for rows in leaves]

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
