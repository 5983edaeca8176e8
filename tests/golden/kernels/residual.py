"""The full neural tangent kernel of `f`, [n1, n2, 4, 4], planned for n1=4, n2=3.

Params: {blocks: [2 x 6 leaves, 7 leaves, 2 x 6 leaves], head: {b: 4, w: 16x4}, stem:
3x3x3x8}, 15,644 numbers in 34 leaves, float32. x: float32[n,8,8,3]. Axis 0 of x counts
examples; n1 and n2 are free.

total 1.22 ms: call 4.8 us, forward 172 us, sweep 427 us, contractions 613 us, push 0 s.
total 37.8 Mflop, 10.3MiB moved, peak 1.19MiB of at most 16.9GiB.
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

PARAMS_BLOCKS_0 = {"conv1": "float32[3,3,8,8]", "conv2": "float32[3,3,8,8]",
    "norm1": {"scale": "float32[8]", "shift": "float32[8]"},
    "norm2": {"scale": "float32[8]", "shift": "float32[8]"}}  # fmt: skip
PARAMS_BLOCKS_3 = {"conv1": "float32[3,3,16,16]", "conv2": "float32[3,3,16,16]",
    "norm1": {"scale": "float32[16]", "shift": "float32[16]"},
    "norm2": {"scale": "float32[16]", "shift": "float32[16]"}}  # fmt: skip
PARAMS = {"blocks": [*[PARAMS_BLOCKS_0] * 2, {"conv1": "float32[3,3,8,16]",
    "conv2": "float32[3,3,16,16]",
    "norm1": {"scale": "float32[16]", "shift": "float32[16]"},
    "norm2": {"scale": "float32[16]", "shift": "float32[16]"},
    "skip": "float32[1,1,8,16]"}, *[PARAMS_BLOCKS_3] * 2],
    "head": {"b": "float32[4]", "w": "float32[16,4]"},
    "stem": "float32[3,3,3,8]"}  # fmt: skip
X = "float32[n,8,8,3]"


def conv(x, kernel, strides):
    """A convolution whose axes are in this order."""
    axes = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=axes)


def block(params, x, taps):
    """`blocks/0` to `blocks/4`, 4 parts: output, and what its layers were given."""
    conv1_out = conv(x, params["conv1"], (1, 1)) + taps["conv1"]
    norm1_out = conv1_out * params["norm1"]["scale"] + params["norm1"]["shift"]
    norm1_out = in_order(norm1_out + taps["norm1"])
    norm1_act = jax.nn.relu(norm1_out)
    conv2_out = conv(norm1_act, params["conv2"], (1, 1)) + taps["conv2"]
    norm2_out = x + (conv2_out * params["norm2"]["scale"] + params["norm2"]["shift"])
    norm2_out = in_order(norm2_out + taps["norm2"])
    h0 = jax.nn.relu(norm2_out)
    activations = {
        "conv1_in": x[0],
        "norm1_act": norm1_act[0],
        "conv1_out": conv1_out[0],
        "conv2_out": conv2_out[0],
    }
    return h0, activations


def block_1(params, x, taps):
    """`blocks/2`: output, and what its layers were given."""
    conv1_out = conv(x, params["conv1"], (2, 2)) + taps["conv1"]
    norm1_out = conv1_out * params["norm1"]["scale"] + params["norm1"]["shift"]
    norm1_out = in_order(norm1_out + taps["norm1"])
    norm1_act = jax.nn.relu(norm1_out)
    conv2_out = conv(norm1_act, params["conv2"], (1, 1)) + taps["conv2"]
    norm_out = conv2_out * params["norm2"]["scale"] + params["norm2"]["shift"]
    norm2_out = in_order(conv(x, params["skip"], (2, 2)) + norm_out + taps["norm2"])
    h0 = jax.nn.relu(norm2_out)
    activations = {
        "conv1_in": x[0],
        "norm1_act": norm1_act[0],
        "conv1_out": conv1_out[0],
        "conv2_out": conv2_out[0],
    }
    return h0, activations


def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))


def windows(x, window, strides):
    """Cuts [..., *spatial, c] into windows [..., *positions, *window, c]."""
    sizes = x.shape[-1 - len(window) : -1]
    padding = jax.lax.padtype_to_pads(sizes, window, strides, "SAME")
    x = jnp.pad(x, [(0, 0)] * (x.ndim - len(window) - 1) + [*padding, (0, 0)])
    pieces = []
    for offset in itertools.product(*map(range, window)):
        spatial = zip(offset, x.shape[-1 - len(window) :], window, strides)
        cut = [slice(i, i + size - k + 1, step) for i, size, k, step in spatial]
        pieces.append(x[..., *cut, :])
    stacked = jnp.stack(pieces, axis=-2)
    return stacked.reshape(*stacked.shape[:-2], *window, stacked.shape[-1])


def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    activations = {}
    stem_out = in_order(conv(x[None], params["stem"], (1, 1)) + taps["stem"])
    h0, activations["blocks_0"] = block(params["blocks"][0], stem_out, taps["blocks_0"])
    h1, activations["blocks_1"] = block(params["blocks"][1], h0, taps["blocks_1"])
    h2, activations["blocks_2"] = block_1(params["blocks"][2], h1, taps["blocks_2"])
    h3, activations["blocks_3"] = block(params["blocks"][3], h2, taps["blocks_3"])
    h4, activations["blocks_4"] = block(params["blocks"][4], h3, taps["blocks_4"])
    head_in = jnp.mean(h4, axis=(1, 2))
    head_out = head_in @ params["head"]["w"] + params["head"]["b"] + taps["head"]
    activations |= {"head_in": head_in[0], "x": x}
    return head_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    shapes_blocks_0 = {"conv1": (8, 8, 8), "conv2": (8, 8, 8), "norm1": (8, 8, 8),
        "norm2": (8, 8, 8)}  # fmt: skip
    shapes_blocks_2 = {"conv1": (4, 4, 16), "conv2": (4, 4, 16), "norm1": (4, 4, 16),
        "norm2": (4, 4, 16)}  # fmt: skip
    shapes = {"head": (4,), "stem": (8, 8, 8), "blocks_0": shapes_blocks_0,
        "blocks_1": shapes_blocks_0,
        **{f"blocks_{i}": shapes_blocks_2 for i in range(2, 5)}}  # fmt: skip
    specs, tree = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    return tree.unflatten([jnp.zeros(spec, jnp.float32) for spec in specs])


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(4, dtype=jnp.float32))
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


def cotangent_products(side1, side2, layer):
    """Inner products of cotangents: structured_derivatives, C1 C2, 10 leaves."""
    # A1, A2: activations of x1 and x2; C1, C2: cotangents.
    (_, c1), (_, c2) = side1, side2
    sum_c1 = c1[layer].sum(axis=(2, 3))
    sum_c2 = c2[layer].sum(axis=(2, 3))
    return jnp.einsum("noy,mpy->nomp", sum_c1, sum_c2)


def jacobian_products(side1, side2, layer, given):
    """Inner products of Jacobians: jacobian_contraction, (C1 A1)(C2 A2), 10 leaves."""
    (a1, c1), (a2, c2) = side1, side2
    jacobian1 = jnp.einsum("nijg,noijg->nog", a1[given], c1[layer])
    jacobian2 = jnp.einsum("nijg,noijg->nog", a2[given], c2[layer])
    return jnp.einsum("nog,mpg->nomp", jacobian1, jacobian2)


def layer_products(side1, side2, layer, given, stride=1):
    """What layers add: structured_derivatives, C1 ((A1 A2) C2), 6 leaves."""
    (a1, c1), (a2, c2) = side1, side2
    windows1 = windows(a1[given], (3, 3), (stride, stride))
    windows2 = windows(a2[given], (3, 3), (stride, stride))
    gram = inner_products(windows1, windows2, 3)
    product_a1a2c2 = jnp.einsum("nijmst,mpsty->mnijpy", gram, c2[layer])
    return jnp.einsum("noijy,mnijpy->nomp", c1[layer], product_a1a2c2)


def jacobian_products_1(side1, side2, layer, given, window=3, stride=1):
    """Inner products of Jacobians: jacobian_contraction, (C1 A1)(C2 A2), 6 leaves."""
    (a1, c1), (a2, c2) = side1, side2
    windows1 = windows(a1[given], (window, window), (stride, stride))
    jacobian1 = jnp.einsum("noijy,nijabc->noyabc", c1[layer], windows1)
    windows2 = windows(a2[given], (window, window), (stride, stride))
    jacobian2 = jnp.einsum("noijy,nijabc->noyabc", c2[layer], windows2)
    return inner_products(jacobian1, jacobian2, 4)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 4, 4]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    a1, c1 = side1
    a2, c2 = side2

    def add(chosen, products, *keys, **settings):
        """Adds what a layer of each of these parts of the model adds."""
        nonlocal theta
        for part in chosen:
            sides = [[table.get(part) for table in side] for side in (side1, side2)]
            theta += products(*sides, *keys, **settings)

    parts = ("blocks_4", "blocks_3", "blocks_2", "blocks_1", "blocks_0")
    theta = 0.0

    # norm1/shift, norm2/shift: 151 kflop, 450KiB, 54.4 us
    add(parts, cotangent_products, "norm2")
    add(parts, cotangent_products, "norm1")

    # norm1/scale, norm2/scale: 252 kflop, 1.52MiB, 106 us
    add(parts, jacobian_products, "norm2", "conv2_out")
    add(parts, jacobian_products, "norm1", "conv1_out")

    # conv1, conv2: 7.82 Mflop, 2.74MiB, 202 us
    add(parts[:3], layer_products, "conv2", "norm1_act")
    add(parts[:2], layer_products, "conv1", "conv1_in")
    add(["blocks_2"], layer_products, "conv1", "conv1_in", stride=2)

    # conv1, conv2, skip, stem: 10.2 Mflop, 3.11MiB, 247 us
    add(["blocks_2"], jacobian_products_1, "norm2", "conv1_in", window=1, stride=2)
    add(parts[3:], jacobian_products_1, "conv2", "norm1_act")
    add(parts[3:], jacobian_products_1, "conv1", "conv1_in")
    theta += jacobian_products_1(side1, side2, "stem", "x")

    # head/b [4]: structured_derivatives, C1 C2; 1.73 kflop, 3.44KiB, 1.26 us
    # head/w [16x4]: structured_derivatives, (C1 C2)(A1 A2); 768 flop, 4.28KiB, 1.77 us
    cotangent_gram_head = jnp.einsum("noy,mpy->nomp", c1["head"], c2["head"])
    theta += cotangent_gram_head
    gram = jnp.einsum("nx,mx->nm", a1["head_in"], a2["head_in"])
    theta += cotangent_gram_head * gram[:, None, :, None]

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
        return [rows.reshape(len(rows), 4, -1) for rows in leaves]

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
