"""U-Nets: convolutions down to few positions and up again, with skip connections."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import (
    convolution_params,
    convolve,
    dense,
    dense_params,
    relu,
)
from benchmarks.problems.network import Network


def u_net(
    *, side: int = 16, channels: int = 8, depth: int = 2, n_outputs: int | None = None
) -> Network:
    """Returns a U-Net for images with three channels.

    Args:
        side: Height and width; to be divided by 2 `depth` times.
        channels: Channels at full resolution; they double with every step down.
        depth: Number of steps down, and up again.
        n_outputs: Outputs of a dense head on the average over positions; None for one
            output at every pixel, `side * side` of them.
    """

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 2 * depth + 3))
        widths = [channels * 2**level for level in range(depth + 1)]
        down = [convolution_params(next(keys), 3, 3, channels)]
        up: list[Any] = []
        for narrow, wide in itertools.pairwise(widths):
            down.append(convolution_params(next(keys), 3, narrow, wide))
            up.append(convolution_params(next(keys), 3, narrow + wide, narrow))
        head = (
            convolution_params(next(keys), 1, channels, 1)
            if n_outputs is None
            else dense_params(next(keys), channels, n_outputs)
        )
        return {"down": down, "up": up, "head": head}

    def u_net(params: Any, x: jax.Array) -> jax.Array:
        x = relu(convolve(params["down"][0], x))
        skipped: list[jax.Array] = []
        for layer in params["down"][1:]:
            skipped.append(x)
            x = relu(convolve(layer, x, stride=2))
        for layer in reversed(params["up"]):
            x = jnp.concatenate([_doubled(x), skipped.pop()], -1)
            x = relu(convolve(layer, x))
        if n_outputs is None:
            return convolve(params["head"], x).reshape(x.shape[0], -1)
        return dense(params["head"], jnp.mean(x, (1, 2)))

    return Network(init=init, apply=u_net, example_shape=(side, side, 3))


def _doubled(x: jax.Array) -> jax.Array:
    """Repeats every pixel of `[n, height, width, channels]` in both directions."""
    n, height, width, channels = x.shape
    shape = (n, height, 2, width, 2, channels)
    repeated = jnp.broadcast_to(x[:, :, None, :, None], shape)
    return repeated.reshape(n, 2 * height, 2 * width, channels)
