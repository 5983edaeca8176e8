"""A small convolutional network in plain JAX, at its random initialisation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

N_OUTPUTS = 10


def init_params(seed: int = 0) -> dict[str, dict[str, jax.Array]]:
    """Draws He-normal weights; biases start at zero.

    Args:
        seed: Of the random numbers.

    Returns:
        `conv1`, `conv2`, `dense1` and `dense2`, each with `kernel` and `bias`.
    """
    shapes = {
        "conv1": (3, 3, 1, 16),
        "conv2": (3, 3, 16, 32),
        "dense1": (4 * 4 * 32, 128),
        "dense2": (128, N_OUTPUTS),
    }
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        name: {
            "kernel": jax.nn.initializers.he_normal()(key, shape, jnp.float32),
            "bias": jnp.zeros(shape[-1], jnp.float32),
        }
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def apply(params: Any, images: jax.Array) -> jax.Array:
    """Maps images `[n, 8, 8, 1]` to logits `[n, 10]`."""
    hidden = jax.nn.relu(convolve(images, **params["conv1"]))
    hidden = jax.nn.relu(convolve(hidden, **params["conv2"]))
    hidden = average_pool(hidden).reshape(len(images), -1)
    hidden = jax.nn.relu(hidden @ params["dense1"]["kernel"] + params["dense1"]["bias"])
    return hidden @ params["dense2"]["kernel"] + params["dense2"]["bias"]


def convolve(images: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Convolves `[n, height, width, channels]` with SAME padding."""
    layout = ("NHWC", "HWIO", "NHWC")
    return (
        jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=layout
        )
        + bias
    )


def average_pool(images: jax.Array) -> jax.Array:
    """Averages over windows of 2 x 2 that do not overlap."""
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(images, 0.0, jax.lax.add, window, window, "VALID") / 4
