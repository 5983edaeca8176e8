"""A causal language model of GPT-2's form: to be planned, not run."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import (
    dense,
    dense_params,
    gelu,
    layer_norm,
    norm_params,
    softmax,
)
from benchmarks.problems.network import Network


def language_model(
    *,
    vocabulary: int = 50_257,
    context: int = 1024,
    length: int = 128,
    width: int = 768,
    n_heads: int = 12,
    n_blocks: int = 12,
    selected: tuple[int, ...] = (11, 13, 262),
) -> Network:
    """Returns GPT-2, by default the small one; its embedding is also its head.

    Args:
        vocabulary: Number of tokens.
        context: Number of learned positions.
        length: Tokens of an example.
        width: Numbers at a position.
        n_heads: Heads of the attention.
        n_blocks: Number of blocks.
        selected: Tokens whose logits at the last position are the outputs.
    """

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 4 * n_blocks + 2))
        table = 0.02 * jax.random.normal(next(keys), (vocabulary, width), jnp.float32)
        positions = 0.01 * jax.random.normal(next(keys), (context, width), jnp.float32)
        return {
            "tokens": table,
            "positions": positions,
            "blocks": [_block_params(keys, width) for _ in range(n_blocks)],
            "norm": norm_params(width),
        }

    def language_model(params: Any, tokens: jax.Array) -> jax.Array:
        x = params["tokens"][tokens] + params["positions"][:length]
        for block in params["blocks"]:
            x = x + _attend(block, layer_norm(block["norm1"], x), n_heads)
            inner = dense(block["hidden"], layer_norm(block["norm2"], x))
            x = x + dense(block["out"], gelu(inner))
        last = layer_norm(params["norm"], x[:, -1])
        return last @ params["tokens"][jnp.array(selected)].T

    return Network(
        init=init,
        apply=language_model,
        example_shape=(length,),
        vocabulary=vocabulary,
    )


def _block_params(keys: Any, width: int) -> Any:
    return {
        "norm1": norm_params(width),
        "attention": dense_params(next(keys), width, 3 * width),
        "attended": dense_params(next(keys), width, width),
        "norm2": norm_params(width),
        "hidden": dense_params(next(keys), width, 4 * width),
        "out": dense_params(next(keys), 4 * width, width),
    }


def _attend(params: Any, x: jax.Array, n_heads: int) -> jax.Array:
    """Applies causal multi-head attention to `[n, length, width]`."""
    n, length, width = x.shape
    head_width = width // n_heads
    joined = dense(params["attention"], x).reshape(n, length, 3, n_heads, head_width)
    query, key, value = joined[:, :, 0], joined[:, :, 1], joined[:, :, 2]
    logits = jnp.einsum("nihd,njhd->nhij", query, key) / math.sqrt(head_width)
    seen = jnp.tril(jnp.ones((length, length), bool))
    weights = softmax(jnp.where(seen, logits, -1e9))
    attended = jnp.einsum("nhij,njhd->nihd", weights, value)
    return dense(params["attended"], attended.reshape(n, length, width))
