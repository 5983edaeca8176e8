"""More small functions: contractions, indexing, control flow, activations, models."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.emit.functions import (
    _TABLE,
    BOTH,
    B,
    Function,
    W,
    X,
    Y,
    _clipped,
    _cube,
    _of,
    _straight_through,
    array,
    indices,
    positive,
)

IMAGE = array(1, 6, 6, 2)
FORWARD, REVERSE = ("forward",), ("reverse",)


def _conv(x, w, strides=(1, 1), padding="SAME", **options):
    layout = options.pop("layout", ("NHWC", "HWIO", "NHWC"))
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=layout, **options
    )


CONTRACTIONS = (
    _of("matmul", lambda x, w: x @ w, X, W, text="h0 = x0 @ x1"),
    _of("matvec", lambda x, b: x @ b, X, B, text="h0 = x0 @ x1"),
    _of("vecmat", lambda b, w: b @ w, B, W),
    _of("dot", lambda b, c: b @ c, B, array(8, seed=2)),
    _of("matmul_transposed", lambda x, w: x @ w.T, X, W),
    _of(
        "dense_general",
        lambda x, w: lax.dot_general(x, w, (((2,), (1,)), ((), ()))),
        X,
        W,
    ),
    _of("batched_matmul", lambda x, y: x @ y.transpose(0, 2, 1), X, Y),
    _of("gram", lambda x, y: jnp.einsum("bsd,btd->bst", x, y), X, Y),
    _of(
        "heads",
        lambda q, k: jnp.einsum("bqhd,bkhd->bhqk", q, k),
        *(array(1, 3, 2, 4),) * 2,
    ),
    _of("outer", lambda x, y: jnp.einsum("bsd,bte->bsdte", x, y), X, Y),
    _of(
        "sum_of_two_axes",
        lambda x, w: jnp.einsum("bsd,sdo->bo", x, w),
        X,
        array(4, 8, 3),
    ),
    _of("precise", lambda x, w: jnp.matmul(x, w, precision="highest"), X, W),
    _of(
        "wider_sum",
        lambda x, w: jnp.matmul(x, w, preferred_element_type=jnp.float32),
        array(1, 4, dtype=jnp.bfloat16),
        array(4, 3, dtype=jnp.bfloat16),
        tolerance=1e-2,
    ),
    _of("matmul_halves", lambda x, w: x @ w, *(array(3, 3, dtype=jnp.bfloat16),) * 2),
    _of("conv_same", _conv, IMAGE, array(3, 3, 2, 4)),
    _of(
        "conv_valid",
        partial(_conv, strides=(2, 1), padding="VALID"),
        IMAGE,
        array(3, 3, 2, 4),
    ),
    _of(
        "conv_padded",
        partial(_conv, padding=((2, 0), (1, 1))),
        IMAGE,
        array(3, 3, 2, 4),
    ),
    _of("conv_dilated", partial(_conv, rhs_dilation=(2, 2)), IMAGE, array(3, 3, 2, 4)),
    _of(
        "conv_upsampled",
        partial(_conv, padding=((2, 2), (2, 2)), lhs_dilation=(2, 2)),
        IMAGE,
        array(3, 3, 2, 4),
    ),
    _of(
        "conv_depthwise",
        partial(_conv, feature_group_count=2),
        IMAGE,
        array(3, 3, 1, 4),
    ),
    _of(
        "conv_nchw",
        partial(_conv, layout=("NCHW", "OIHW", "NCHW")),
        array(1, 2, 6, 6),
        array(4, 2, 3, 3),
    ),
    _of(
        "conv_1d",
        partial(_conv, strides=(1,), layout=("NWC", "WIO", "NWC")),
        X,
        array(3, 8, 2),
    ),
    _of(
        "conv_3d",
        partial(_conv, strides=(1, 1, 1), layout=("NDHWC", "DHWIO", "NDHWC")),
        array(1, 3, 3, 3, 2),
        array(2, 2, 2, 2, 2),
    ),
    _of(
        "conv_transposed",
        lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME"),
        IMAGE,
        array(3, 3, 2, 4),
    ),
)

INDEXING = (
    _of(
        "embedding",
        lambda t, i: t[i],
        array(9, 4),
        indices(1, 5, limit=9),
        text="h0 = x0[x1]",
    ),
    _of(
        "take",
        lambda t, i: jnp.take(t, i, axis=0),
        array(9, 4),
        indices(1, 5, limit=11),
    ),
    _of(
        "closed_over_table",
        lambda x, i: x + jnp.asarray(_TABLE)[i],
        array(1, 5, 3),
        indices(1, 5, limit=8),
    ),
    _of("two_indices", lambda x, i: x[:, i, i], X, indices(3, limit=4)),
    _of(
        "take_along",
        lambda x, i: jnp.take_along_axis(x, i, axis=1),
        X,
        indices(1, 2, 8, limit=4),
    ),
    _of("set", lambda x: x.at[:, 1].set(2.0), X),
    _of("add_at", lambda x, y, i: x.at[:, i].add(y[:, :2]), X, Y, indices(2, limit=4)),
    _of(
        "multiply_at",
        lambda x, i: x.at[0, i].multiply(3.0, unique_indices=True),
        X,
        np.asarray([0, 2], np.int32),
    ),
    _of("max_at", lambda x, i: x.at[0, i].max(0.3), X, np.asarray([0, 2], np.int32)),
    _of(
        "dynamic_slice",
        lambda x, i: lax.dynamic_slice(x, (0, i, 0), (1, 2, 8)),
        X,
        np.int32(1),
    ),
    _of("dynamic_index", lambda x, i: x[:, i], X, np.int32(-2)),
    _of(
        "dynamic_update",
        lambda x, y, i: lax.dynamic_update_slice(x, y[:, :2], (0, i, 0)),
        X,
        Y,
        np.int32(1),
    ),
    _of("one_hot", lambda i: jax.nn.one_hot(i, 5), indices(1, 3, limit=5)),
)


def _recurrent(x, w, b):
    def step(h, x_t):
        h = jnp.tanh(h @ w + x_t + b)
        return h, h * 2.0

    return lax.scan(step, jnp.zeros((1, 8)), x.transpose(1, 0, 2))


def _scan_without_inputs(x):
    def step(carry, _):
        count, value = carry
        return (count + 1, jnp.sin(value) * count), None

    return lax.scan(step, (0, x), None, length=3)[0]


def _scan_over_layers(x, stack):
    return lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), x, stack, reverse=True)[0]


def _nested(x):
    def outer(h, x_t):
        inner = lax.scan(lambda c, y: (c * 0.5 + y, c), h, jnp.stack([x_t, x_t]))
        return inner[0], lax.cond(h.sum() > 0, jnp.sin, lambda v: v, inner[1])

    return lax.scan(outer, jnp.zeros(8), x[0])


def _loop(x, w):
    return lax.while_loop(
        lambda c: (c[0] < 4) & (jnp.sum(c[1]) < 1e3),
        lambda c: (c[0] + 1, jnp.tanh(c[1] @ w)),
        (0, x),
    )[1]


def _search(limits, steps):
    """How often each entry grows, by steps that differ, until it is past its limit."""

    def count(limit, step):
        return lax.while_loop(
            lambda state: state[1] < limit,
            lambda state: (state[0] + 1, state[1] + step),
            (0, step * 0.5),
        )

    return jax.vmap(lambda limit: jax.vmap(lambda step: count(limit, step))(steps))(
        limits
    )


CONTROL = (
    _of("recurrent", _recurrent, X, W, B),
    _of("scan_without_inputs", _scan_without_inputs, X),
    _of("scan_over_layers", _scan_over_layers, X, array(3, 8, 8)),
    _of("fori_loop", lambda x: lax.fori_loop(0, 4, lambda i, h: jnp.sin(h) + i, x), X),
    _of(
        "fori_loop_of_several",
        lambda x, w: lax.fori_loop(
            2, 5, lambda i, state: (state[0] @ w * i, state[1] + 1), (x, x[0])
        ),
        X,
        W,
    ),
    _of(
        "counter_that_is_read",
        lambda x: lax.scan(
            lambda c, _: ((c[0] + 1, c[1] * c[0]), None), (1, x), None, length=3
        )[0],
        X,
    ),
    _of("nested_scan", _nested, X),
    _of("while_loop", _loop, X, W, modes=FORWARD),
    _of(
        "vectorized_while_loop",
        jax.vmap(_loop, (1, None), 1),
        X,
        W,
        modes=FORWARD,
    ),
    _of("vectorized_search", _search, positive(3), positive(5), modes=()),
    _of("cond", lambda x: lax.cond(x.sum() > 0, lambda v: v * 2, jnp.sin, x), X),
    _of(
        "switch",
        lambda i, x, y: lax.switch(i, [jnp.add, jnp.subtract, jnp.multiply], x, y),
        np.int32(2),
        X,
        Y,
    ),
    _of("associative_scan", lambda x: lax.associative_scan(jnp.multiply, x, axis=1), X),
    _of(
        "jitted_twice",
        lambda x: jax.jit(jnp.tanh)(jax.jit(jnp.tanh)(x)),
        X,
        text="h0 = jnp.tanh(jnp.tanh(x0))",
    ),
    _of("rematerialised", jax.checkpoint(lambda x, w: jnp.sin(x @ w)), X, W),
)


def _power_of_itself(order):
    """`x**order`, whose derivatives of every order are functions of their own."""

    @jax.custom_jvp
    def power(x):
        return x**order

    @power.defjvp
    def power_jvp(primals, tangents):
        return power(*primals), _power_of_itself(order + 1)(*primals) * tangents[0]

    return power


DERIVATIVES = (
    _of("custom_jvp", lambda x: _cube(_cube(x, 2.0), 2.0), X),
    _of("custom_jvp_with_integer", lambda x, n: _cube(x, n), X, np.int32(3)),
    _of("custom_vjp", lambda x, y: _clipped(*_clipped(x, y)), X, Y, modes=REVERSE),
    _of(
        "custom_vjp_without_residuals",
        lambda x: _straight_through(x) * x,
        X,
        modes=REVERSE,
    ),
    _of("relu", jax.nn.relu, X, text="h0 = jax.nn.relu(x0)"),
    _of("relu6", jax.nn.relu6, X),
    _of("silu", jax.nn.silu, X, text="h0 = jax.nn.silu(x0)"),
    _of("softplus", jax.nn.softplus, X, text="h0 = jax.nn.softplus(x0)"),
    _of("log_sigmoid", jax.nn.log_sigmoid, X),
    _of("gelu", jax.nn.gelu, X, text="h0 = jax.nn.gelu(x0)"),
    _of(
        "exact_gelu",
        partial(jax.nn.gelu, approximate=False),
        X,
        text="h0 = jax.nn.gelu(x0, approximate=False)",
    ),
    _of("elu", jax.nn.elu, X),
    _of("selu", jax.nn.selu, X),
    _of("leaky_relu", jax.nn.leaky_relu, X),
    _of("hard_swish", jax.nn.hard_swish, X),
    _of("softmax", jax.nn.softmax, X, text="h0 = jax.nn.softmax(x0)"),
    _of(
        "softmax_of_rows",
        partial(jax.nn.softmax, axis=1),
        X,
        text="h0 = jax.nn.softmax(x0, axis=1)",
    ),
    _of("log_softmax", jax.nn.log_softmax, X, text="h0 = jax.nn.log_softmax(x0)"),
    _of("xlogy", jax.scipy.special.xlogy, X, abs(Y)),
    _of("sinc", jnp.sinc, X),
    _of("endless_derivatives", lambda x: _power_of_itself(1)(x), positive(1, 4)),
)

_SQUARE = array(4, 4) @ array(4, 4).T + 2 * np.eye(4, dtype=np.float32)

LINEAR_ALGEBRA = (
    _of("cholesky", jnp.linalg.cholesky, _SQUARE, tolerance=1e-5),
    _of(
        "triangular_solve",
        lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True),
        _SQUARE,
        array(4, 2),
    ),
    _of("solve", jnp.linalg.solve, _SQUARE, array(4, 2), tolerance=1e-5),
    _of("inverse", jnp.linalg.inv, _SQUARE, tolerance=1e-5),
    _of("slogdet", lambda a: jnp.linalg.slogdet(a)[1], _SQUARE, tolerance=1e-5),
    _of("eigh", lambda a: jnp.linalg.eigh(a)[0], _SQUARE, tolerance=1e-5),
    _of(
        "svd",
        lambda a: jnp.linalg.svd(a, full_matrices=False),
        array(4, 3),
        tolerance=1e-4,
    ),
    _of(
        "singular_values",
        lambda a: jnp.linalg.svd(a, compute_uv=False),
        array(4, 3),
        tolerance=1e-5,
    ),
    _of("qr", jnp.linalg.qr, array(4, 3), tolerance=1e-5),
    _of("fft", lambda x: jnp.abs(jnp.fft.fft(x)) + jnp.abs(jnp.fft.rfft2(x)).sum(), X),
)

RANDOM = (
    _of(
        "normal",
        lambda k, x: x * jax.random.normal(jax.random.fold_in(k, 3), x.shape),
        jax.random.key(0),
        X,
        modes=BOTH,
    ),
    _of(
        "dropout",
        lambda s, x: jnp.where(
            jax.random.bernoulli(jax.random.split(jax.random.key(s))[1], 0.5, x.shape),
            x,
            0.0,
        ),
        np.int32(7),
        X,
    ),
    _of(
        "raw_key",
        lambda k, x: x + jax.random.uniform(k, x.shape),
        np.asarray([1, 2], np.uint32),
        X,
    ),
)


def _layer_norm(x, scale, shift):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift


def _attention(x, w):
    heads = jnp.einsum("bsd,dthk->tbshk", x, w)
    scores = jnp.einsum("bqhk,bshk->bhqs", heads[0], heads[1]) / np.sqrt(4.0)
    mixed = jnp.einsum("bhqs,bshk->bqhk", jax.nn.softmax(scores), heads[2])
    return mixed.reshape(x.shape)


def _convolutional(x, w0, b0, w1):
    h = jax.nn.relu(_conv(x, w0) + b0)
    h = lax.reduce_window(h, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4.0
    return h.reshape(1, -1) @ w1


def _perceptron(x, w0, b0, w1, b1):
    return jax.nn.relu(x @ w0 + b0) @ w1 + b1


MODELS = (
    _of("perceptron", _perceptron, array(1, 8), W, B, array(8, 3), array(3)),
    _of(
        "convolutional",
        _convolutional,
        IMAGE,
        array(3, 3, 2, 4),
        array(4),
        array(36, 3),
    ),
    _of("layer_norm", _layer_norm, X, B, array(8, seed=1)),
    _of("attention", _attention, X, array(8, 3, 2, 4)),
)

ALL: tuple[Function, ...] = (
    *CONTRACTIONS,
    *INDEXING,
    *CONTROL,
    *DERIVATIVES,
    *LINEAR_ALGEBRA,
    *RANDOM,
    *MODELS,
)
