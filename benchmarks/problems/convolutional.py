"""Convolutional networks: plain ones, one with strides and pooling, and ResNet-18."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import (
    STANDARD,
    Layers,
    convolution_params,
    convolve,
    dense,
    dense_params,
    frozen_norm,
    max_pool,
    norm_params,
    relu,
)
from benchmarks.problems.network import Network


def convolutional(
    *,
    channels: int = 32,
    depth: int = 3,
    side: int = 16,
    n_outputs: int = 10,
    head: str = "average",
    layers: Layers = STANDARD,
) -> Network:
    """Returns `depth` convolutions and a dense head.

    Args:
        channels: Channels of every hidden layer.
        depth: Number of convolutions.
        side: Height and width of the images, which have three channels.
        n_outputs: Number of outputs.
        head: `average` over positions, or `flatten`.
        layers: What the layers are.
    """

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, depth + 1)
        convolutions = [
            layers.convolution_params(
                keys[index], 3, 3 if index == 0 else channels, channels
            )
            for index in range(depth)
        ]
        n_features = channels if head == "average" else side * side * channels
        return {
            "convolutions": convolutions,
            "head": layers.dense_params(keys[-1], n_features, n_outputs),
        }

    def convolutional(params: Any, x: jax.Array) -> jax.Array:
        for layer in params["convolutions"]:
            x = relu(layers.convolve(layer, x))
        features = (
            jnp.mean(x, (1, 2)) if head == "average" else x.reshape(x.shape[0], -1)
        )
        return layers.dense(params["head"], features)

    return Network(init=init, apply=convolutional, example_shape=(side, side, 3))


def pooled(*, n_outputs: int = 10) -> Network:
    """Returns a small network for 28 x 28 images, with a stride and max pooling."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, 3)
        return {
            "first": convolution_params(keys[0], 5, 1, 16),
            "second": convolution_params(keys[1], 3, 16, 32),
            "head": dense_params(keys[2], 2 * 2 * 32, n_outputs),
        }

    def pooled(params: Any, x: jax.Array) -> jax.Array:
        x = max_pool(relu(convolve(params["first"], x, 2, "VALID")))
        x = max_pool(relu(convolve(params["second"], x, 1, "VALID")))
        return dense(params["head"], x.reshape(x.shape[0], -1))

    return Network(init=init, apply=pooled, example_shape=(28, 28, 1))


def resnet18(
    *,
    width: int = 16,
    side: int = 32,
    n_outputs: int = 10,
    norm: Callable[[Any, jax.Array], jax.Array] = frozen_norm,
) -> Network:
    """Returns ResNet-18 with the stem for small images.

    Args:
        width: Channels of the first stage; they double from stage to stage.
        side: Height and width of the images, which have three channels.
        n_outputs: Number of outputs.
        norm: Applies a normalisation, `norm(params, x)`.
    """
    stages = (2, 2, 2, 2)

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 64))
        stem = convolution_params(next(keys), 3, 3, width, bias=False)
        params: dict[str, Any] = {
            "stem": {"convolution": stem, "norm": norm_params(width)}
        }
        n_in = width
        for stage, n_blocks in enumerate(stages):
            n_out = width * 2**stage
            blocks: list[Any] = []
            for _ in range(n_blocks):
                blocks.append(_block_params(keys, n_in, n_out))
                n_in = n_out
            params[f"stage{stage}"] = blocks
        params["head"] = dense_params(next(keys), n_in, n_outputs)
        return params

    def resnet18(params: Any, x: jax.Array) -> jax.Array:
        stem = params["stem"]
        x = relu(norm(stem["norm"], convolve(stem["convolution"], x)))
        for stage in range(len(stages)):
            for block in params[f"stage{stage}"]:
                x = _block(block, x, norm)
        return dense(params["head"], jnp.mean(x, (1, 2)))

    return Network(init=init, apply=resnet18, example_shape=(side, side, 3))


def _block_params(keys: Any, n_in: int, n_out: int) -> Any:
    params = {
        "first": convolution_params(next(keys), 3, n_in, n_out, bias=False),
        "first_norm": norm_params(n_out),
        "second": convolution_params(next(keys), 3, n_out, n_out, bias=False),
        "second_norm": norm_params(n_out),
    }
    if n_in != n_out:
        params["skip"] = convolution_params(next(keys), 1, n_in, n_out, bias=False)
        params["skip_norm"] = norm_params(n_out)
    return params


def _block(
    params: Any, x: jax.Array, norm: Callable[[Any, jax.Array], jax.Array]
) -> jax.Array:
    """Applies a residual block; the first of a later stage halves height and width."""
    stride = 2 if "skip" in params else 1
    y = relu(norm(params["first_norm"], convolve(params["first"], x, stride)))
    y = 0.3 * norm(params["second_norm"], convolve(params["second"], y))
    if "skip" in params:
        x = norm(params["skip_norm"], convolve(params["skip"], x, stride))
    return relu(x + y)
