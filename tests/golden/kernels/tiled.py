"""The full neural tangent kernel of `f`, [n1, n2, 5, 5], planned for n1=4, n2=3.

Params: {conv1: {bias: 8, kernel: 3x3x3x8}, conv2: {bias: 8, kernel: 3x3x8x8}, dense:
{bias: 5, kernel: 128x5}}, 1,453 numbers in 6 leaves, float32. x: float32[n,16,16,3].
Axis 0 of x counts examples; n1 and n2 are free.

total 233 us: call 4.8 us, forward 14.4 us, sweep 35.1 us, contractions 179 us, push
0 s.
total 5.38 Mflop, 2.94MiB moved, peak 201KiB of at most 300KiB.
in tiles of 2 x 2 examples, to fit 300KiB; activations and cotangents are computed again
for every row of tiles.
of the tiles only those by halving were compared, and of the ways to divide the leaves
in them only all tapped and all pushed.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
device="golden_cpu", memory_limit="300KiB"). Run as a program, it compares itself with
dense Jacobians.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy
from jax import lax

PARAMS = {"conv1": {"bias": "float32[8]", "kernel": "float32[3,3,3,8]"},
    "conv2": {"bias": "float32[8]", "kernel": "float32[3,3,8,8]"},
    "dense": {"bias": "float32[5]", "kernel": "float32[128,5]"}}  # fmt: skip
X = "float32[n,16,16,3]"


def conv(x, kernel, strides):
    """A convolution with a pull-back that is quick in loops on a CPU, too.

    Only kernels whose axes are in one order are given to a library there. JAX
    exchanges two of them to pull back, so `turned` exchanges them before.
    """

    def convolve(x, kernel, axes):
        return lax.conv_general_dilated(
            x, kernel, strides, "SAME", dimension_numbers=("NHWC", axes, "NHWC")
        )

    @jax.custom_vjp
    def straight(x, kernel):
        return convolve(x, kernel, "HWIO")

    def turned(x, kernel):
        kernel = kernel.swapaxes(2, 3)
        return convolve(x, kernel, "HWOI")

    straight.defvjp(
        lambda x, kernel: (straight(x, kernel), jax.vjp(turned, x, kernel)[1]),
        lambda pull_back, cotangent: pull_back(cotangent),
    )
    return straight(x, kernel)


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


def over_tiles(function, arrays, size, axis):
    """Applies a function to tiles of arrays, and puts the results together.

    The last tile begins so early that it is as large as the others.
    """
    n = jax.tree.leaves(arrays)[0].shape[0]
    size = min(size, n)

    def tile(start):
        return jax.tree.map(
            lambda array: jax.lax.dynamic_slice_in_dim(array, start, size), arrays
        )

    def put(i, results):
        start = jnp.minimum(i * size, n - size)
        part = function(tile(start))
        return jax.lax.dynamic_update_slice_in_dim(results, part, start, axis)

    part = jax.eval_shape(function, jax.eval_shape(tile, 0))
    shape = list(part.shape)
    shape[axis] = n
    zeros = jnp.zeros(shape, part.dtype)
    return jax.lax.fori_loop(0, -(-n // size), put, zeros)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    h0 = conv(x[None], params["conv1"]["kernel"], (2, 2))
    conv1_out = h0 + params["conv1"]["bias"] + taps["conv1"]
    conv1_act = jax.nn.gelu(conv1_out)
    h1 = conv(conv1_act, params["conv2"]["kernel"], (2, 2))
    conv2_out = h1 + params["conv2"]["bias"] + taps["conv2"]
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
    return activations, cotangents


def kernel_block(side1, side2):
    """Returns the kernel of some examples with others."""
    # What is made of one side alone would else be kept for all of a row's tiles.
    side1, side2 = jax.lax.optimization_barrier((side1, side2))
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    a1, c1 = side1
    a2, c2 = side2

    # dense/bias [5]: structured_derivatives, C1 C2; 4.4 kflop, 7.81KiB, 4.83 us
    # dense/kernel [128x5]: structured_derivatives, (C1 C2)(A1 A2); 4.9 kflop, 15.9KiB,
    # 8.05 us
    cotangent_gram_dense = jnp.einsum("noy,mpy->nomp", c1["dense"], c2["dense"])
    theta = cotangent_gram_dense
    gram = jnp.einsum("nx,mx->nm", a1["conv2_act"], a2["conv2_act"])
    theta += cotangent_gram_dense * gram[:, None, :, None]

    # conv2/kernel [3x3x8x8]: structured_derivatives, C1 ((A1 A2) C2); 1.02 Mflop,
    # 526KiB, 49.7 us
    # with biases: conv2/bias [8]
    windows1 = windows_and_one(a1["conv1_act"], (3, 3), (2, 2))
    windows2 = windows_and_one(a2["conv1_act"], (3, 3), (2, 2))
    gram = jnp.einsum("nijx,mstx->nijmst", windows1, windows2)
    product_a1a2c2 = jnp.einsum("nijmst,mpsty->mnijpy", gram, c2["conv2"])
    theta += jnp.einsum("noijy,mnijpy->nomp", c1["conv2"], product_a1a2c2)

    # conv1/kernel [3x3x3x8]: jacobian_contraction, (C1 A1)(C2 A2); 2.39 Mflop, 945KiB,
    # 80.4 us
    # with biases: conv1/bias [8]
    windows1 = windows_and_one(a1["x"], (3, 3), (2, 2))
    jacobian1 = jnp.einsum("noijy,nijx->noyx", c1["conv1"], windows1)
    windows2 = windows_and_one(a2["x"], (3, 3), (2, 2))
    jacobian2 = jnp.einsum("noijy,nijx->noyx", c2["conv1"], windows2)
    theta += inner_products(jacobian1, jacobian2, 2)
    return theta


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 5, 5], in tiles of 2 x 2 examples."""
    check_shapes(params, x1, x2)

    def sides(x):
        return jax.vmap(derivatives, (None, 0))(params, x)

    x2 = x1 if x2 is None else x2

    def row(x1):
        side1 = sides(x1)

        def tile(x2):
            return kernel_block(side1, sides(x2))

        return over_tiles(tile, x2, 2, 2)

    theta = over_tiles(row, x1, 2, 0)

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
