"""Convolutional networks in plain JAX: strides, paddings, poolings, heads, layouts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params

NHWC = ("NHWC", "HWIO", "NHWC")
NCHW = ("NCHW", "OIHW", "NCHW")


def convolve(x, w, strides=(1, 1), padding="SAME", **options):
    return lax.conv_general_dilated(
        x, w, strides, padding, **{"dimension_numbers": NHWC, **options}
    )


def average_pool(x, window=2):
    shape = (1, window, window, 1)
    return lax.reduce_window(x, 0.0, lax.add, shape, shape, "VALID") / window**2


def max_pool(x, window=2):
    shape = (1, window, window, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, shape, "VALID")


def cnn_same_flatten(key: jax.Array) -> Problem:
    params = normal_params(
        key, w1=(3, 3, 2, 5), b1=(5,), w2=(3, 3, 5, 3), b2=(3,), head=(5 * 6 * 3, 2)
    )
    x1, x2 = normal_examples(key, 5, 6, 2)

    def f(params, x):
        x = jax.nn.relu(convolve(x, params["w1"]) + params["b1"])
        x = jax.nn.relu(convolve(x, params["w2"]) + params["b2"])
        return x.reshape(x.shape[0], -1) @ params["head"]

    return f, params, x1, x2


def cnn_valid_strided_global(key: jax.Array) -> Problem:
    params = normal_params(key, w1=(3, 2, 2, 5), w2=(2, 2, 5, 7), head=(7, 3), b=(3,))
    x1, x2 = normal_examples(key, 9, 7, 2)

    def f(params, x):
        x = jnp.tanh(convolve(x, params["w1"], (2, 1), "VALID"))
        x = jnp.tanh(convolve(x, params["w2"], (1, 2), "VALID"))
        return x.mean(axis=(1, 2)) @ params["head"] + params["b"]

    return f, params, x1, x2


def cnn_same_strided(key: jax.Array) -> Problem:
    params = normal_params(key, w1=(3, 3, 1, 5), b1=(5,), w2=(5, 5, 5, 3))
    x1, x2 = normal_examples(key, 7, 8, 1)

    def f(params, x):
        x = jax.nn.gelu(convolve(x, params["w1"], (2, 3)) + params["b1"])
        return convolve(x, params["w2"], (2, 2)).mean(axis=(1, 2))

    return f, params, x1, x2


def cnn_average_pool(key: jax.Array) -> Problem:
    params = normal_params(key, w1=(3, 3, 2, 5), b1=(5,), w2=(3, 3, 5, 3), head=(12, 2))
    x1, x2 = normal_examples(key, 8, 8, 2)

    def f(params, x):
        x = average_pool(jax.nn.relu(convolve(x, params["w1"]) + params["b1"]))
        x = average_pool(jax.nn.relu(convolve(x, params["w2"])))
        return x.reshape(x.shape[0], -1) @ params["head"]

    return f, params, x1, x2


def cnn_max_pool(key: jax.Array) -> Problem:
    params = normal_params(key, w1=(3, 3, 2, 5), b1=(5,), w2=(3, 3, 5, 3), head=(12, 2))
    x1, x2 = normal_examples(key, 8, 8, 2)

    def f(params, x):
        x = max_pool(jax.nn.relu(convolve(x, params["w1"]) + params["b1"]))
        x = max_pool(jnp.tanh(convolve(x, params["w2"])))
        return x.reshape(x.shape[0], -1) @ params["head"]

    return f, params, x1, x2


def cnn_depthwise_dilated(key: jax.Array) -> Problem:
    """Channels first, grouped and dilated, a different padding on every side."""
    params = normal_params(key, w1=(6, 2, 3, 3), w2=(3, 6, 2, 2), b2=(3,))
    x1, x2 = normal_examples(key, 4, 7, 6)
    grouped = {"dimension_numbers": NCHW, "feature_group_count": 2}
    dilated = {"dimension_numbers": NCHW, "rhs_dilation": (2, 1)}

    def f(params, x):
        x = jnp.tanh(convolve(x, params["w1"], (1, 1), ((1, 0), (2, 1)), **grouped))
        x = convolve(x, params["w2"], (2, 1), "VALID", **dilated)
        return jnp.mean(x + params["b2"][:, None, None], axis=(2, 3))

    return f, params, x1, x2


def cnn_one_dimensional(key: jax.Array) -> Problem:
    """Outputs keep their positions: output axes `[s, channels]`."""
    params = normal_params(key, w1=(5, 3, 7), b1=(7,), w2=(3, 7, 2))
    x1, x2 = normal_examples(key, 11, 3)
    layout = {"dimension_numbers": ("NWC", "WIO", "NWC")}

    def f(params, x):
        x = jnp.tanh(convolve(x, params["w1"], (2,), "SAME", **layout) + params["b1"])
        return convolve(x, params["w2"], (2,), "VALID", **layout)

    return f, params, x1, x2


CASES = (
    Case(name="plain_cnn_same_flatten", build=cnn_same_flatten),
    Case(name="plain_cnn_valid_strided_global", build=cnn_valid_strided_global),
    Case(name="plain_cnn_same_strided", build=cnn_same_strided),
    Case(name="plain_cnn_average_pool", build=cnn_average_pool),
    Case(name="plain_cnn_max_pool", build=cnn_max_pool),
    Case(name="plain_cnn_depthwise_dilated", build=cnn_depthwise_dilated),
    Case(name="plain_cnn_one_dimensional", build=cnn_one_dimensional),
)
