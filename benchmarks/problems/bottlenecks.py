"""The 50-layer residual network for large images: to be planned, not run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.problems.layers import (
    convolution_params,
    convolve,
    dense,
    dense_params,
    frozen_norm,
    norm_params,
    relu,
)
from benchmarks.problems.network import Network

_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks, and channels inside a block; outside there are four times as many."""
_KERNELS = (1, 3, 1)


def resnet50(*, side: int = 224, n_outputs: int = 1000) -> Network:
    """Returns ResNet-50, its normalisations folded in.

    Args:
        side: Height and width of the images, which have three channels.
        n_outputs: Number of outputs.
    """

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 64))
        params: dict[str, Any] = {"stem": _normal_params(next(keys), 7, 3, 64)}
        n_in = 64
        for stage, (n_blocks, inner) in enumerate(_STAGES):
            blocks: list[Any] = []
            for _ in range(n_blocks):
                blocks.append(_block_params(keys, n_in, inner))
                n_in = 4 * inner
            params[f"stage{stage}"] = blocks
        params["head"] = dense_params(next(keys), n_in, n_outputs)
        return params

    def resnet50(params: Any, x: jax.Array) -> jax.Array:
        x = _pool(relu(_convolve_normal(params["stem"], x, 2)))
        for stage in range(len(_STAGES)):
            for place, block in enumerate(params[f"stage{stage}"]):
                x = _block(block, x, 2 if place == 0 and stage > 0 else 1)
        return dense(params["head"], jnp.mean(x, (1, 2)))

    return Network(init=init, apply=resnet50, example_shape=(side, side, 3))


def _normal_params(key: jax.Array, size: int, n_in: int, n_out: int) -> Any:
    return {
        "convolution": convolution_params(key, size, n_in, n_out, bias=False),
        "norm": norm_params(n_out),
    }


def _convolve_normal(params: Any, x: jax.Array, stride: int = 1) -> jax.Array:
    return frozen_norm(params["norm"], convolve(params["convolution"], x, stride))


def _pool(x: jax.Array) -> jax.Array:
    """Keeps the largest of every 3 x 3 patch, at every second position."""
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "SAME")


def _block_params(keys: Any, n_in: int, inner: int) -> Any:
    widths = (n_in, inner, inner, 4 * inner)
    params: dict[str, Any] = {
        "layers": [
            _normal_params(next(keys), size, widths[place], widths[place + 1])
            for place, size in enumerate(_KERNELS)
        ]
    }
    if n_in != 4 * inner:
        params["skip"] = _normal_params(next(keys), 1, n_in, 4 * inner)
    return params


def _block(params: Any, x: jax.Array, stride: int) -> jax.Array:
    first, second, third = params["layers"]
    y = relu(_convolve_normal(first, x))
    y = relu(_convolve_normal(second, y, stride))
    y = _convolve_normal(third, y)
    if "skip" in params:
        x = _convolve_normal(params["skip"], x, stride)
    return relu(x + y)
