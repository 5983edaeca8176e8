"""A vision transformer: patches of images, as tokens of a transformer encoder."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.problems.layers import dense, dense_params
from benchmarks.problems.network import Network
from benchmarks.problems.sequences import transformer


def vision_transformer(
    *,
    side: int = 32,
    patch: int = 4,
    width: int = 192,
    n_heads: int = 3,
    n_blocks: int = 6,
    n_outputs: int = 10,
) -> Network:
    """Returns an encoder on square patches, with a head on their average.

    Args:
        side: Height and width of the images, which have three channels.
        patch: Height and width of a patch; divides `side`.
        width: Numbers at a position.
        n_heads: Heads of the attention.
        n_blocks: Number of blocks.
        n_outputs: Outputs of the head.
    """
    count = side // patch
    encoder = transformer(
        length=count * count,
        width=width,
        n_heads=n_heads,
        hidden=4 * width,
        n_outputs=n_outputs,
        n_blocks=n_blocks,
    )

    def init(key: jax.Array) -> Any:
        patch_key, encoder_key = jax.random.split(key)
        return {
            "patches": dense_params(patch_key, 3 * patch * patch, width),
            "encoder": encoder.init(encoder_key),
        }

    def vision_transformer(params: Any, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], count, patch, count, patch, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0], count * count, -1)
        return encoder.apply(params["encoder"], dense(params["patches"], x))

    return Network(init=init, apply=vision_transformer, example_shape=(side, side, 3))
