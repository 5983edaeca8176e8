"""The diagonal neural tangent kernel of `f`, [n1, n2, 10], planned for n1=4, n2=3.

Params: {conv1: 3x3x3x8, conv2: 3x3x8x16, head: 16x10}, 1,528 numbers in 3 leaves,
float32. x: float32[n,8,8,3]. Axis 0 of x counts examples; n1 and n2 are free.

total 350 us: call 4.8 us, forward 36.7 us, sweep 209 us, contractions 99.3 us, push
0 s.
total 12.9 Mflop, 2.49MiB moved, peak 824KiB of at most 16.9GiB.
device golden_cpu (cpu), rates measured 2026-11-21.
JAX 0.10's CPU compiler gets some sums of derivatives wrong, unless XLA_FLAGS holds
--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT.

Written by ntkplan 0.1.0; to plan again: ntkplan.plan(f, params, x1, x2,
kernel="diagonal", device="golden_cpu"). Run as a program, it compares itself with dense
Jacobians.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

PARAMS = {"conv1": "float32[3,3,3,8]", "conv2": "float32[3,3,8,16]",
    "head": "float32[16,10]"}  # fmt: skip
X = "float32[n,8,8,3]"


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


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    conv1_out = lax.conv_general_dilated(
        x[None],
        params["conv1"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    conv1_out = in_order(conv1_out + taps["conv1"])
    conv1_act = jax.nn.relu(conv1_out)
    conv_out = lax.conv_general_dilated(
        conv1_act,
        params["conv2"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    conv2_out = jnp.sum(jax.nn.relu(conv_out), axis=(1, 2)) + taps["conv2"]
    conv2_act = conv2_out / 64.0
    head_out = conv2_act @ params["head"] + taps["head"]
    conv2_slope = jnp.where(conv_out > 0.0, jnp.float32(1.0), 0.0)
    activations = {
        "x": x,
        "conv1_act": conv1_act[0],
        "conv2_slope": conv2_slope[0],
        "conv2_act": conv2_act[0],
    }
    return head_out[0], activations


def zero_taps():
    """Zeros to add to values of the forward pass."""
    return {
        "conv1": jnp.zeros((8, 8, 8), jnp.float32),
        "conv2": jnp.zeros(16, jnp.float32),
        "head": jnp.zeros(10, jnp.float32),
    }


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, activations = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(10, dtype=jnp.float32))
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
    """Returns the kernel, [n1, n2, 10]."""
    check_shapes(params, x1, x2)
    side1, side2 = both_sides(params, x1, x2)
    # A1, A2: activations of x1 and x2; C1, C2: cotangents; K1, K2: factors such as
    # scales or slopes; tapped later: with cotangents of a sum behind the layer.
    a1, c1 = side1
    a2, c2 = side2

    # head [16x10]: structured_derivatives, (C1 (A1 A2)) C2; 4.1 kflop, 24.8KiB, 4.13 us
    gram = jnp.einsum("nx,mx->nm", a1["conv2_act"], a2["conv2_act"])
    product_a1a2c1 = jnp.einsum("ndy,nm->dmny", c1["head"], gram)
    theta = jnp.einsum("mdy,dmny->dnm", c2["head"], product_a1a2c1)

    # conv2 [3x3x8x16]: structured_derivatives, C1 (((A1 K1)(A2 K2)) C2), tapped later;
    # 1.07 Mflop, 556KiB, 37.6 us
    windows1 = windows(a1["conv1_act"], (3, 3), (1, 1))
    windows2 = windows(a2["conv1_act"], (3, 3), (1, 1))
    scaled1 = jnp.einsum("nijg,nijabc->ngabc", a1["conv2_slope"], windows1)
    scaled2 = jnp.einsum("nijg,nijabc->ngabc", a2["conv2_slope"], windows2)
    gram_kk = jnp.einsum("ngabc,mgabc->gnm", scaled1, scaled2)
    product_a1a2c2_kk = jnp.einsum("gnm,mdg->ndmg", gram_kk, c2["conv2"])
    theta += jnp.einsum("ndg,ndmg->dnm", c1["conv2"], product_a1a2c2_kk)

    # conv1 [3x3x3x8]: jacobian_contraction, (C1 A1)(C2 A2); 1.99 Mflop, 800KiB, 57.6 us
    windows1 = windows(a1["x"], (3, 3), (1, 1))
    jacobian1 = jnp.einsum("ndijy,nijabc->ndyabc", c1["conv1"], windows1)
    windows2 = windows(a2["x"], (3, 3), (1, 1))
    jacobian2 = jnp.einsum("ndijy,nijabc->ndyabc", c2["conv1"], windows2)
    theta += jnp.einsum("ndyabc,mdyabc->dnm", jacobian1, jacobian2)

    return theta.transpose(1, 2, 0)


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
        return [rows.reshape(len(rows), 10, -1) for rows in leaves]

    sides = zip(jacobians(x1), jacobians(x2))
    return sum(jnp.einsum("naz,maz->nma", *pair) for pair in sides)


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
