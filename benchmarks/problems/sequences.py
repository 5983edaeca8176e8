"""Networks for sequences: transformer encoders and recurrent networks."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.problems.layers import (
    dense,
    dense_params,
    gelu,
    layer_norm,
    norm_params,
    softmax,
)
from benchmarks.problems.network import Network


def transformer(
    *,
    length: int = 32,
    width: int = 64,
    n_heads: int = 4,
    hidden: int = 128,
    n_outputs: int = 10,
    n_blocks: int = 1,
    every_position: bool = False,
) -> Network:
    """Returns an encoder with learned positions.

    Args:
        length: Number of positions.
        width: Numbers at a position.
        n_heads: Heads of the attention.
        hidden: Units of the perceptron in a block.
        n_outputs: Outputs of the head.
        n_blocks: Number of blocks.
        every_position: Whether the head is on every position, so that there are
            `length * n_outputs` outputs, or on their average.
    """

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 8 * n_blocks + 2))
        blocks = [_block_params(keys, width, hidden) for _ in range(n_blocks)]
        shape = (length, width)
        return {
            "blocks": blocks,
            "positions": 0.02 * jax.random.normal(next(keys), shape, jnp.float32),
            "norm": norm_params(width),
            "head": dense_params(next(keys), width, n_outputs),
        }

    def transformer(params: Any, x: jax.Array) -> jax.Array:
        x = x + params["positions"]
        for block in params["blocks"]:
            x = x + _attend(block, layer_norm(block["norm1"], x), n_heads)
            inner = dense(block["hidden"], layer_norm(block["norm2"], x))
            x = x + dense(block["out"], gelu(inner))
        x = layer_norm(params["norm"], x)
        if not every_position:
            return dense(params["head"], jnp.mean(x, 1))
        return dense(params["head"], x).reshape(x.shape[0], -1)

    return Network(init=init, apply=transformer, example_shape=(length, width))


def _block_params(keys: Any, width: int, hidden: int) -> Any:
    attention = {
        name: dense_params(next(keys), width, width)
        for name in ("query", "key", "value", "attended")
    }
    return {
        **attention,
        "norm1": norm_params(width),
        "norm2": norm_params(width),
        "hidden": dense_params(next(keys), width, hidden),
        "out": dense_params(next(keys), hidden, width),
    }


def _attend(params: Any, x: jax.Array, n_heads: int) -> jax.Array:
    """Applies multi-head attention to `[n, length, width]`."""
    n, length, width = x.shape
    head_width = width // n_heads

    def heads(y: jax.Array) -> jax.Array:
        return y.reshape(n, length, n_heads, head_width).transpose(0, 2, 1, 3)

    query, key, value = (
        heads(dense(params[name], x)) for name in ("query", "key", "value")
    )
    logits = jnp.einsum("nhid,nhjd->nhij", query, key) / math.sqrt(head_width)
    attended = jnp.einsum("nhij,nhjd->nhid", softmax(logits), value)
    merged = attended.transpose(0, 2, 1, 3).reshape(n, length, width)
    return dense(params["attended"], merged)


def token_transformer(
    *,
    vocabulary: int = 1000,
    length: int = 16,
    width: int = 64,
    hidden: int = 256,
    n_blocks: int = 2,
    n_outputs: int = 10,
) -> Network:
    """Returns an encoder behind an embedding of tokens."""
    encoder = transformer(
        length=length,
        width=width,
        hidden=hidden,
        n_blocks=n_blocks,
        n_outputs=n_outputs,
    )

    def init(key: jax.Array) -> Any:
        table_key, encoder_key = jax.random.split(key)
        table = jax.random.normal(table_key, (vocabulary, width), jnp.float32)
        return {"embedding": 0.5 * table, "encoder": encoder.init(encoder_key)}

    def token_transformer(params: Any, tokens: jax.Array) -> jax.Array:
        return encoder.apply(params["encoder"], params["embedding"][tokens])

    return Network(
        init=init,
        apply=token_transformer,
        example_shape=(length,),
        vocabulary=vocabulary,
    )


def recurrent(
    *,
    n_in: int = 8,
    width: int = 64,
    n_steps: int = 24,
    n_outputs: int = 10,
    scan: bool = False,
) -> Network:
    """Returns a recurrent network with a head on the last state, unrolled or a scan."""

    def init(key: jax.Array) -> Any:
        input_key, state_key, head_key = jax.random.split(key, 3)
        return {
            "input": dense_params(input_key, n_in, width),
            "state": dense_params(state_key, width, width),
            "head": dense_params(head_key, width, n_outputs),
        }

    def recurrent(params: Any, x: jax.Array) -> jax.Array:
        def step(state: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
            inner = dense(params["input"], now) + 0.5 * dense(params["state"], state)
            return jnp.tanh(inner), None

        state = jnp.zeros((x.shape[0], width), x.dtype)
        if scan:
            state, _ = lax.scan(step, state, jnp.swapaxes(x, 0, 1))
        else:
            for time in range(n_steps):
                state, _ = step(state, x[:, time])
        return dense(params["head"], state)

    return Network(init=init, apply=recurrent, example_shape=(n_steps, n_in))
