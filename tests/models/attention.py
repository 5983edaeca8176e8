"""Transformer encoders in plain JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params, token_examples

N_HEADS, HEAD_SIZE, N_HIDDEN = 2, 3, 7
MODEL_SIZE = N_HEADS * HEAD_SIZE


def block_params(key: jax.Array) -> dict[str, jax.Array]:
    size = MODEL_SIZE
    return normal_params(
        key,
        g_attention=(size,),
        b_attention=(size,),
        w_qkv=(size, 3 * size),
        w_out=(size, size),
        b_out=(size,),
        g_hidden=(size,),
        b_hidden=(size,),
        w_up=(size, N_HIDDEN),
        b_up=(N_HIDDEN,),
        w_down=(N_HIDDEN, size),
        b_down=(size,),
    )


def layer_norm(x, scale, shift):
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-3) * scale + shift


def attention(block, x, causal):
    n, s, _ = x.shape
    qkv = (x @ block["w_qkv"]).reshape(n, s, 3, N_HEADS, HEAD_SIZE)
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    scores = jnp.einsum("nshd,nthd->nhst", q, k) / math.sqrt(HEAD_SIZE)
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((s, s), bool)), scores, -jnp.inf)
    mixed = jnp.einsum("nhst,nthd->nshd", jax.nn.softmax(scores), v)
    return mixed.reshape(n, s, MODEL_SIZE) @ block["w_out"] + block["b_out"]


def transformer_block(block, x, causal=False):
    normal = layer_norm(x, block["g_attention"], block["b_attention"])
    x = x + attention(block, normal, causal)
    normal = layer_norm(x, block["g_hidden"], block["b_hidden"])
    hidden = jax.nn.gelu(normal @ block["w_up"] + block["b_up"])
    return x + hidden @ block["w_down"] + block["b_down"]


def transformer_encoder(key: jax.Array) -> Problem:
    keys = jax.random.split(key, 3)
    params = {
        "positions": normal_params(keys[0], p=(5, MODEL_SIZE))["p"],
        "blocks": [block_params(keys[0]), block_params(keys[1])],
        "head": normal_params(
            keys[2], g=(MODEL_SIZE,), b=(MODEL_SIZE,), w=(MODEL_SIZE, 3)
        ),
    }
    x1, x2 = normal_examples(key, 5, MODEL_SIZE)

    def f(params, x):
        x = x + params["positions"]
        for block in params["blocks"]:
            x = transformer_block(block, x)
        head = params["head"]
        return layer_norm(x, head["g"], head["b"]).mean(axis=1) @ head["w"]

    return f, params, x1, x2


def transformer_of_tokens(key: jax.Array) -> Problem:
    """Embedded tokens, causal, outputs at every position, the embedding tied."""
    keys = jax.random.split(key, 2)
    params = {
        "embedding": normal_params(keys[0], e=(11, MODEL_SIZE))["e"],
        "block": block_params(keys[1]),
    }
    x1, x2 = token_examples(key, 11, 4)

    def f(params, tokens):
        x = transformer_block(params["block"], params["embedding"][tokens], causal=True)
        return x @ params["embedding"][:3].T

    return f, params, x1, x2


CASES = (
    Case(name="plain_transformer_encoder", build=transformer_encoder),
    Case(name="plain_transformer_of_tokens", build=transformer_of_tokens),
)
