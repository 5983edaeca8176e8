"""Models that take a mean or a sum over positions: taps may stand after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledCase(Case):
    """A small model with a sum over positions.

    Attributes:
        slopes: For every leaf that may be tapped after the sum, how many arrays are on
            the way there; leaves that may not are left out.
    """

    slopes: Mapping[str, int]


def conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, int] = (1, 1)):
    return lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_mean(key: jax.Array) -> Problem:
    """A global-average head over a convolution; the first one is too far away."""
    params = normal_params(
        key, first=(2, 2, 1, 2), b=(3,), w=(2, 2, 2, 3), head=(3, 4), head_b=(4,)
    )

    def f(params, x):
        hidden = jax.nn.relu(conv(x, params["first"]))
        hidden = jax.nn.relu(conv(hidden, params["w"]) + params["b"])
        return hidden.mean(axis=(1, 2)) @ params["head"] + params["head_b"]

    return f, params, *normal_examples(key, 4, 3, 1)


def residual_mean(key: jax.Array) -> Problem:
    """The last block of a ResNet: frozen statistics, a projected shortcut, a sum."""
    params = normal_params(
        key,
        w=(2, 2, 2, 3),
        skip=(1, 1, 2, 3),
        g_scale=(3,),
        shift=(3,),
        head=(3, 2),
    )

    def f(params, x):
        hidden = conv(x, params["w"]) * params["g_scale"] + params["shift"]
        hidden = jax.nn.relu(hidden + conv(x, params["skip"]))
        return jnp.mean(hidden, axis=(1, 2)) @ params["head"]

    return f, params, *normal_examples(key, 3, 3, 2)


def tokens_mean(key: jax.Array) -> Problem:
    """A function that reads its argument many times, then a mean over positions."""
    params = normal_params(key, b=(4,), w=(3, 4), head=(4, 2))

    def f(params, x):
        hidden = jax.nn.gelu(x @ params["w"] + params["b"])
        return jnp.tanh(hidden.mean(axis=1)) @ params["head"]

    return f, params, *normal_examples(key, 5, 3)


def masked_sum(key: jax.Array) -> Problem:
    """A gate that is data, a sign, a choice by data; positions summed in two steps."""
    params = normal_params(key, g_scale=(4,), w=(3, 4), head=(4, 2))

    def f(params, x):
        hidden = jnp.square(x @ params["w"]) / 3.0
        hidden = 1.0 - jnp.sin(x[..., :1]) * hidden * params["g_scale"]
        hidden = jnp.where(x[..., 1:2] > 0.0, hidden, 0.5 * hidden)
        rows = jnp.tanh(hidden.sum(axis=2))
        return rows.sum(axis=1) @ params["head"]

    return f, params, *normal_examples(key, 3, 2, 3)


def twice(key: jax.Array) -> Problem:
    """One leaf for two branches with sums of their own, one more for both of them."""
    params = normal_params(key, w=(3, 4), b=(4,), head=(4, 2))

    def f(params, x):
        left = jnp.tanh(x @ params["w"] + params["b"]).mean(axis=1)
        right = jax.nn.silu(x[:, ::-1] @ params["w"] * params["b"]).sum(axis=1)
        return (left + right) @ params["head"]

    return f, params, *normal_examples(key, 3, 3)


def linear_mean(key: jax.Array) -> Problem:
    """Nothing on the way: positions that only the cotangent had are counted."""
    params = normal_params(key, b=(4,), w=(3, 4), head=(4, 2))

    def f(params, x):
        hidden = -(x @ params["w"] + params["b"])
        return (2.0 * hidden).mean(axis=1) @ params["head"]

    return f, params, *normal_examples(key, 3, 3)


def flattened_pool(key: jax.Array) -> Problem:
    """Axes that are joined and turned, and a window as large as the image."""
    params = normal_params(key, w=(1, 2, 2, 3), v=(2, 3), head=(3, 3))

    def f(params, x):
        hidden = jnp.tanh(conv(x, params["w"]))
        shape = (hidden.shape[0], -1, hidden.shape[3])
        hidden = jnp.cos(hidden.reshape(shape).transpose(0, 2, 1)).sum(axis=2)
        image = jnp.exp(-jnp.square(x @ params["v"]))
        pooled = lax.reduce_window(
            image, 0.0, lax.add, (1, *image.shape[1:3], 1), (1, 1, 1, 1), "VALID"
        )
        return hidden @ params["head"] + pooled[:, 0, 0, :]

    return f, params, *normal_examples(key, 2, 3, 2)


def channels_mean(key: jax.Array) -> Problem:
    """A sum over what the leaf gives out, with a slope that still knows it."""
    params = normal_params(key, w=(3, 4), row=(3, 4))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"]).sum(axis=(2,))
        return hidden + (x @ params["row"]).mean(axis=2)

    return f, params, *normal_examples(key, 3, 3)


def looked_up(key: jax.Array) -> Problem:
    """A bag of embeddings."""
    params = normal_params(key, table=(5, 3), head=(3, 2))

    def f(params, x):
        tokens = jnp.argmax(x, axis=-1)
        return jnp.tanh(params["table"][tokens]).mean(axis=1) @ params["head"]

    return f, params, *normal_examples(key, 4, 5)


def read_elsewhere(key: jax.Array) -> Problem:
    """What is summed is read by something else as well: taps stay where they are."""
    params = normal_params(key, w=(3, 4), head=(4, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"])
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        return jnp.max(centred @ params["head"], axis=1)

    return f, params, *normal_examples(key, 3, 3)


CASES = (
    PooledCase(name="conv_mean", build=conv_mean, slopes={"b": 1, "w": 1}),
    PooledCase(
        name="residual_mean",
        build=residual_mean,
        slopes={"g_scale": 1, "shift": 1, "skip": 1, "w": 1},
    ),
    PooledCase(name="tokens_mean", build=tokens_mean, slopes={"b": 1, "w": 1}),
    PooledCase(name="masked_sum", build=masked_sum, slopes={"g_scale": 2, "w": 2}),
    PooledCase(name="twice", build=twice, slopes={"b": 1, "w": 1}),
    PooledCase(name="linear_mean", build=linear_mean, slopes={"b": 0, "w": 0}),
    PooledCase(name="flattened_pool", build=flattened_pool, slopes={"v": 1, "w": 2}),
    PooledCase(name="channels_mean", build=channels_mean, slopes={"w": 1}),
    PooledCase(name="looked_up", build=looked_up, slopes={"table": 1}),
    PooledCase(name="read_elsewhere", build=read_elsewhere, slopes={}),
)
