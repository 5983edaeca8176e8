"""The models of `tests/data/neural_tangents`, with several output axes."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")


def dense(params, x):
    h = jnp.tanh(x @ params["w1"] + params["b1"])
    return h @ params["w2"] + params["b2"]


def conv(params, x):
    h = lax.conv_general_dilated(
        x, params["c1"], (2, 1), "SAME", dimension_numbers=NHWC
    )
    h = jnp.tanh(h + params["b1"])
    return lax.conv_general_dilated(
        h, params["c2"], (1, 1), "VALID", dimension_numbers=NHWC
    )


def attention(params, x):
    q, k, v = x @ params["q"], x @ params["k"], x @ params["v"]
    a = jnp.exp(jnp.einsum("nsd,ntd->nst", q, k) / 2.0)
    mixed = jnp.einsum("nst,ntd->nsd", a / a.sum(-1, keepdims=True), v)
    return mixed * params["g"]


def tied(params, x):
    h = jnp.tanh(x @ params["w"])
    h = jnp.tanh(h @ params["u"] + h @ params["u"].T)
    return h @ params["w"].T


MODELS = {"dense": dense, "conv": conv, "attention": attention, "tied": tied}
