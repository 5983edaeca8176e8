"""Mixtures of experts: the same layer many times over, and a gate that weighs them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.problems.layers import dense, dense_params, gelu, relu, softmax
from benchmarks.problems.network import Network


def mixture_of_experts(
    *,
    length: int = 8,
    n_in: int = 32,
    width: int = 64,
    hidden: int = 128,
    n_experts: int = 8,
    n_active: int | None = None,
    n_outputs: int = 10,
) -> Network:
    """Returns a dense layer, experts on every position, and a head on the average.

    Args:
        length: Number of positions.
        n_in: Numbers at a position of the input.
        width: Units before and after the experts.
        hidden: Units inside an expert.
        n_experts: Number of experts; their weights are stacked.
        n_active: How many experts a position listens to: those with the largest gates;
            None for all of them.
        n_outputs: Outputs of the head.
    """

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, 5)
        stack = jax.vmap(dense_params, in_axes=(0, None, None))
        return {
            "first": dense_params(keys[0], n_in, width),
            "gate": dense_params(keys[1], width, n_experts),
            "hidden": stack(jax.random.split(keys[2], n_experts), width, hidden),
            "out": stack(jax.random.split(keys[3], n_experts), hidden, width),
            "head": dense_params(keys[4], width, n_outputs),
        }

    def mixture_of_experts(params: Any, x: jax.Array) -> jax.Array:
        x = relu(dense(params["first"], x))
        gates = softmax(dense(params["gate"], x))
        if n_active is not None:
            gates = _largest(gates, n_active)
        inner = jnp.einsum("nsx,exh->nseh", x, params["hidden"]["weight"])
        inner = gelu(inner + params["hidden"]["bias"])
        outer = jnp.einsum("nseh,ehy->nsey", inner, params["out"]["weight"])
        outer = outer + params["out"]["bias"]
        x = x + jnp.einsum("nse,nsey->nsy", gates, outer)
        return dense(params["head"], jnp.mean(x, 1))

    return Network(init=init, apply=mixture_of_experts, example_shape=(length, n_in))


def _largest(gates: jax.Array, count: int) -> jax.Array:
    """Keeps the `count` largest gates of every position, the others are zero."""
    least = lax.stop_gradient(lax.top_k(gates, count)[0][..., -1:])
    return jnp.where(gates >= least, gates, 0.0)
