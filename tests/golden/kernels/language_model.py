"""The full neural tangent kernel of `f`, [n1, n2, 3, 3], planned for n1=4, n2=3.

Params: {blocks: 4 x 12 leaves, norm: {scale: 16, shift: 16}, positions: 6x16, tokens:
50x16}, 14,048 numbers in 52 leaves, float32. x: int32[n,6]. Axis 0 of x counts
examples; n1 and n2 are free.

total 558 us: call 4.8 us, forward 107 us, sweep 138 us, contractions 308 us, push 0 s.
total 11.1 Mflop, 5.21MiB moved, peak 812KiB of at most 16.9GiB.
of the divisions into cotangents and NTK-vector products only the likely were compared.
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

PARAMS_BLOCKS_0 = {"down": {"b": "float32[16]", "w": "float32[64,16]"},
    "norm1": {"scale": "float32[16]", "shift": "float32[16]"},
    "norm2": {"scale": "float32[16]", "shift": "float32[16]"},
    "out": {"b": "float32[16]", "w": "float32[16,16]"},
    "qkv": {"b": "float32[48]", "w": "float32[16,48]"},
    "up": {"b": "float32[64]", "w": "float32[16,64]"}}  # fmt: skip
PARAMS = {"blocks": [PARAMS_BLOCKS_0] * 4,
    "norm": {"scale": "float32[16]", "shift": "float32[16]"},
    "positions": "float32[6,16]", "tokens": "float32[50,16]"}  # fmt: skip
X = "int32[n,6]"


def block(params, x, taps):
    """`blocks/0` to `blocks/3`, 4 parts: output, and what its layers were given."""
    h0 = lax.rsqrt(jnp.var(x, axis=-1, keepdims=True) + 1e-05)
    norm1_in = (x - jnp.mean(x, axis=-1, keepdims=True)) * h0
    norm1_out = norm1_in * params["norm1"]["scale"] + params["norm1"]["shift"]
    norm1_out = in_order(norm1_out + taps["norm1"])
    qkv_out = norm1_out @ params["qkv"]["w"] + params["qkv"]["b"]
    qkv_out = in_order(qkv_out + taps["qkv"])
    h1, h2, h3 = jnp.split(qkv_out, 3, axis=-1)
    h4 = h1.reshape(1, 6, 2, 8)
    h5 = jnp.einsum("bqhd,bkhd->bhqk", h4, h2.reshape(1, 6, 2, 8)) / 2.828427
    h6 = jnp.where(jnp.tril(jnp.ones((6, 6), dtype=jnp.bool_)), h5, -jnp.inf)
    h7 = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(h6), h3.reshape(1, 6, 2, 8))
    qkv_act = h7.reshape(1, 6, 16)
    out_out = x + (qkv_act @ params["out"]["w"] + params["out"]["b"])
    out_out = in_order(out_out + taps["out"])
    h8 = lax.rsqrt(jnp.var(out_out, axis=-1, keepdims=True) + 1e-05)
    out_act = (out_out - jnp.mean(out_out, axis=-1, keepdims=True)) * h8
    norm2_out = out_act * params["norm2"]["scale"] + params["norm2"]["shift"]
    norm2_out = in_order(norm2_out + taps["norm2"])
    up_out = in_order(norm2_out @ params["up"]["w"] + params["up"]["b"] + taps["up"])
    up_act = jax.nn.gelu(up_out)
    down_out = out_out + (up_act @ params["down"]["w"] + params["down"]["b"])
    down_out = in_order(down_out + taps["down"])
    activations = {"up_act": up_act[0], "norm1_in": norm1_in[0], "out_act": out_act[0],
        "qkv_act": qkv_act[0], "norm1_out": norm1_out[0],
        "norm2_out": norm2_out[0]}  # fmt: skip
    return down_out, activations


def in_order(array):
    """Has cotangents in memory as products read them; XLA for CPUs copies them else."""
    # JAX misreads an array that comes out of `jax.jit` right after a constraint.
    return 1.0 * with_layout_constraint(1.0 * array, Layout(tuple(range(array.ndim))))


def sum_rows(values, rows, size):
    """Sums values [*rows.shape, ...] by their rows into [size, ...]."""
    zeros = jnp.zeros((size, *values.shape[rows.ndim :]), values.dtype)
    return zeros.at[rows].add(values, mode="drop")


def inner_products(rows1, rows2, axes):
    """Inner products of rows of so many axes, as one product of two matrices."""
    shape1, shape2 = rows1.shape[:-axes], rows2.shape[:-axes]
    rows1 = rows1.reshape(math.prod(shape1), -1)
    rows2 = rows2.reshape(math.prod(shape2), -1)
    return jnp.matmul(rows1, rows2.T).reshape(*shape1, *shape2)


def forward(params, x, taps):
    """Outputs of one example, and what its layers were given."""
    tokens = params["tokens"]
    activations = {}
    h0 = jnp.array([3, 14, 15], dtype=jnp.int32)
    positions_out = in_order(tokens[x[None]] + params["positions"] + taps["positions"])
    h1 = positions_out
    for i in range(4):
        h1, activations[f"blocks_{i}"] = block(
            params["blocks"][i], h1, taps[f"blocks_{i}"]
        )
    h2 = lax.rsqrt(jnp.var(h1, axis=-1, keepdims=True) + 1e-05)
    norm_in = (h1 - jnp.mean(h1, axis=-1, keepdims=True)) * h2
    norm_out = norm_in * params["norm"]["scale"] + params["norm"]["shift"]
    norm_out = in_order(norm_out + taps["norm"])
    norm_act = norm_out[:, 5]
    tokens_out = norm_act @ tokens[h0].T + taps["tokens"]
    h3 = jnp.where(x[None] < 0, x[None] + 50, x[None])
    inputs = jnp.where((h3 >= 0) & (h3 <= 49), h3, 50)
    h4 = jnp.where(h0 < 0, h0 + 50, h0)
    tokens_factor = jnp.where((h4 >= 0) & (h4 <= 49), h4, 50)
    activations |= {"norm_in": norm_in[0], "inputs": inputs[0], "norm_act": norm_act[0]}
    factors = {"tokens_factor": tokens_factor}
    return tokens_out[0], (activations, factors)


def zero_taps():
    """Zeros to add to values of the forward pass."""
    shapes_blocks_0 = {"down": (6, 16), "norm1": (6, 16), "norm2": (6, 16),
        "out": (6, 16), "qkv": (6, 48), "up": (6, 64)}  # fmt: skip
    shapes = {"norm": (6, 16), "positions": (6, 16), "tokens": (3,),
        **{f"blocks_{i}": shapes_blocks_0 for i in range(4)}}  # fmt: skip
    specs, tree = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    return tree.unflatten([jnp.zeros(spec, jnp.float32) for spec in specs])


def derivatives(params, x):
    """Activations and cotangents, d output / d tap, of one example."""
    taps = zero_taps()
    _, pull_back, (activations, factors) = jax.vjp(
        lambda taps: forward(params, x, taps), taps, has_aux=True
    )
    (cotangents,) = jax.vmap(pull_back)(jnp.eye(3, dtype=jnp.float32))
    return activations, jax.tree.map(in_order, cotangents), factors


def both_sides(params, x1, x2):
    """The sides of x1 and x2, by one sweep, which is sooner compiled."""
    if x2 is None:
        *side, factors = jax.vmap(derivatives, (None, 0), (0, 0, None))(params, x1)
        return side, side, factors
    n1 = jax.tree.leaves(x1)[0].shape[0]
    x = jax.tree.map(lambda *x: jnp.concatenate(x), x1, x2)
    *both, factors = jax.vmap(derivatives, (None, 0), (0, 0, None))(params, x)
    first = jax.tree.map(lambda a: a[:n1], both)
    return first, jax.tree.map(lambda a: a[n1:], both), factors


def cotangent_products(side1, side2, layer):
    """Inner products of cotangents: structured_derivatives, C1 C2, 25 leaves."""
    # A1, A2: activations of x1 and x2; C1, C2: cotangents; K1, K2: factors such as
    # scales or slopes.
    (_, c1), (_, c2) = side1, side2
    sum_c1 = c1[layer].sum(axis=2)
    sum_c2 = c2[layer].sum(axis=2)
    return jnp.einsum("noy,mpy->nomp", sum_c1, sum_c2)


def layer_products(side1, side2, layer, given):
    """What layers add: structured_derivatives, C1 (A1 (A2 C2)), 9 leaves."""
    (a1, c1), (a2, c2) = side1, side2
    jacobian2 = jnp.einsum("nsg,nosg->ngo", a2[given], c2[layer])
    product_a1a2c2 = jnp.einsum("nsg,mgp->nsgmp", a1[given], jacobian2)
    return jnp.einsum("nosg,nsgmp->nomp", c1[layer], product_a1a2c2)


def gram_products(side1, side2, layer, given):
    """Products of two Grams: structured_derivatives, (C1 C2)(A1 A2), 16 leaves."""
    (a1, c1), (a2, c2) = side1, side2
    cotangent_gram = jnp.einsum("nosy,mpty->nosmpt", c1[layer], c2[layer])
    gram = jnp.einsum("nsx,mtx->nsmt", a1[given], a2[given])
    return jnp.einsum("nsmt,nosmpt->nomp", gram, cotangent_gram)


@jax.jit
@jax.default_matmul_precision("highest")
def kernel(params, x1, x2=None):
    """Returns the kernel, [n1, n2, 3, 3]."""
    check_shapes(params, x1, x2)
    side1, side2, factors = both_sides(params, x1, x2)
    a1, c1 = side1
    a2, c2 = side2

    def of(part):
        """Both sides of a part of the model."""
        return [[table.get(part) for table in side] for side in (side1, side2)]

    # norm/shift [16]: 5.58 kflop, 12.2KiB, 3.2 us
    theta = cotangent_products(side1, side2, "norm")
    # norm/scale [16]: 26 kflop, 49.3KiB, 5.56 us
    theta += layer_products(side1, side2, "norm", "norm_in")

    for part in ("blocks_3", "blocks_2", "blocks_1", "blocks_0"):
        # down/b [16], up/b [64], norm2/shift [16], out/b [16], qkv/b [48], norm1/shift
        # [16]: together 243 kflop, 502KiB, 87.9 us
        theta += cotangent_products(*of(part), "down")
        theta += cotangent_products(*of(part), "up")
        theta += cotangent_products(*of(part), "norm2")
        theta += cotangent_products(*of(part), "out")
        theta += cotangent_products(*of(part), "qkv")
        theta += cotangent_products(*of(part), "norm1")
        # down/w [64x16], up/w [16x64], out/w [16x16], qkv/w [16x48]: together
        # 4.99 Mflop, 1.44MiB, 146 us
        theta += gram_products(*of(part), "down", "up_act")
        theta += gram_products(*of(part), "up", "norm2_out")
        theta += gram_products(*of(part), "out", "qkv_act")
        theta += gram_products(*of(part), "qkv", "norm1_out")
        # norm2/scale [16], norm1/scale [16]: together 208 kflop, 394KiB, 44.5 us
        theta += layer_products(*of(part), "norm2", "out_act")
        theta += layer_products(*of(part), "norm1", "norm1_in")

    # positions [6x16]: structured_derivatives, C1 C2; 20.8 kflop, 9.56KiB, 1.77 us
    theta += inner_products(c1["positions"], c2["positions"], 2)

    # tokens [50x16]: jacobian_contraction, ((C1 K1) A1)((C2 K2) A2); 225 kflop, 482KiB,
    # 19.2 us
    jacobian1_0 = jax.vmap(lambda v, r: sum_rows(v, r, 50))(
        c1["positions"].transpose(0, 2, 1, 3), a1["inputs"]
    )
    pulled1_1 = sum_rows(c1["tokens"].transpose(2, 0, 1), factors["tokens_factor"], 50)
    jacobian1_k_1 = jnp.einsum("xno,ng->nogx", pulled1_1, a1["norm_act"])
    jacobian1 = jacobian1_0.transpose(0, 2, 3, 1) + jacobian1_k_1
    jacobian2_0 = jax.vmap(lambda v, r: sum_rows(v, r, 50))(
        c2["positions"].transpose(0, 2, 1, 3), a2["inputs"]
    )
    pulled2_1 = sum_rows(c2["tokens"].transpose(2, 0, 1), factors["tokens_factor"], 50)
    jacobian2_k_1 = jnp.einsum("xno,ng->nogx", pulled2_1, a2["norm_act"])
    jacobian2 = jacobian2_0.transpose(0, 2, 3, 1) + jacobian2_k_1
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
        if not jnp.issubdtype(dtype, jnp.floating):
            return jnp.asarray(rng.integers(2, size=shape), dtype)
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
