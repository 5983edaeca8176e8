"""Layers in plain JAX, and their parameters, that the measured networks are made of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Params = Any


def dense_params(key: jax.Array, n_in: int, n_out: int) -> Params:
    """Returns a weight of He's standard deviation and a bias of zeros."""
    scale = math.sqrt(2.0 / n_in)
    return {
        "weight": scale * jax.random.normal(key, (n_in, n_out), jnp.float32),
        "bias": jnp.zeros((n_out,), jnp.float32),
    }


def dense(params: Params, x: jax.Array) -> jax.Array:
    return x @ params["weight"] + params["bias"]


def convolution_params(
    key: jax.Array, size: int, n_in: int, n_out: int, *, bias: bool = True
) -> Params:
    """Returns a square filter of He's standard deviation, and a bias of zeros."""
    scale = math.sqrt(2.0 / (size * size * n_in))
    shape = (size, size, n_in, n_out)
    params = {"weight": scale * jax.random.normal(key, shape, jnp.float32)}
    if bias:
        params["bias"] = jnp.zeros((n_out,), jnp.float32)
    return params


def convolve(
    params: Params, x: jax.Array, stride: int = 1, padding: str = "SAME"
) -> jax.Array:
    """Convolves images `[n, height, width, channels]`."""
    y = lax.conv_general_dilated(
        x,
        params["weight"],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y + params["bias"] if "bias" in params else y


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """What dense layers and convolutions are: their parameters, and what they compute.

    Attributes:
        dense_params: Draws those of a dense layer, `dense_params(key, n_in, n_out)`.
        dense: Applies one, `dense(params, x)`.
        convolution_params: The same with the side of a filter,
            `convolution_params(key, size, n_in, n_out)`.
        convolve: Applies one, `convolve(params, x)`.
    """

    dense_params: Callable[[jax.Array, int, int], Params]
    dense: Callable[[Params, jax.Array], jax.Array]
    convolution_params: Callable[[jax.Array, int, int, int], Params]
    convolve: Callable[[Params, jax.Array], jax.Array]


STANDARD = Layers(
    dense_params=dense_params,
    dense=dense,
    convolution_params=convolution_params,
    convolve=convolve,
)


def max_pool(x: jax.Array, size: int = 2) -> jax.Array:
    """Keeps the largest of every `size` x `size` patch."""
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def norm_params(n_channels: int) -> Params:
    """Returns a scale of ones and a shift of zeros."""
    return {
        "scale": jnp.ones((n_channels,), jnp.float32),
        "shift": jnp.zeros((n_channels,), jnp.float32),
    }


def frozen_norm(params: Params, x: jax.Array) -> jax.Array:
    """Batch normalisation whose statistics are already folded in."""
    return x * params["scale"] + params["shift"]


def group_norm(params: Params, x: jax.Array, n_groups: int = 4) -> jax.Array:
    """Normalises images over positions and the channels of a group."""
    n, height, width, channels = x.shape
    grouped = x.reshape(n, height, width, n_groups, channels // n_groups)
    mean = jnp.mean(grouped, (1, 2, 4), keepdims=True)
    variance = jnp.mean(jnp.square(grouped - mean), (1, 2, 4), keepdims=True)
    normal = (grouped - mean) * lax.rsqrt(variance + 1e-5)
    return frozen_norm(params, normal.reshape(x.shape))


def layer_norm(params: Params, x: jax.Array) -> jax.Array:
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), -1, keepdims=True)
    return frozen_norm(params, (x - mean) * lax.rsqrt(variance + 1e-6))


def relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0.0)


def gelu(x: jax.Array) -> jax.Array:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1.0 + jnp.tanh(inner))


def softmax(x: jax.Array) -> jax.Array:
    largest = lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))
    exponentials = jnp.exp(x - largest)
    return exponentials / jnp.sum(exponentials, axis=-1, keepdims=True)
