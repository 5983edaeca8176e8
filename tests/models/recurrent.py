"""Recurrent networks in plain JAX: unrolled, scanned, and scanned over layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params

N_STEPS, N_IN, N_STATE = 12, 3, 5


def recurrent_params(key: jax.Array) -> dict[str, jax.Array]:
    return normal_params(
        key,
        w_in=(N_IN, N_STATE),
        w_state=(N_STATE, N_STATE),
        b=(N_STATE,),
        head=(N_STATE, 2),
    )


def step(params, state, x):
    return jnp.tanh(x @ params["w_in"] + state @ params["w_state"] + params["b"])


def rnn_unrolled(key: jax.Array) -> Problem:
    x1, x2 = normal_examples(key, N_STEPS, N_IN)

    def f(params, x):
        state = jnp.zeros((x.shape[0], N_STATE), x.dtype)
        for time in range(N_STEPS):
            state = step(params, state, x[:, time])
        return state @ params["head"]

    return f, recurrent_params(key), x1, x2


def rnn_scanned(key: jax.Array) -> Problem:
    x1, x2 = normal_examples(key, N_STEPS, N_IN)

    def f(params, x):
        state = jnp.zeros((x.shape[0], N_STATE), x.dtype)
        state, _ = lax.scan(
            lambda state, x: (step(params, state, x), None),
            state,
            jnp.moveaxis(x, 1, 0),
        )
        return state @ params["head"]

    return f, recurrent_params(key), x1, x2


def stacked_layers(key: jax.Array) -> Problem:
    """Three layers of one shape, their weights scanned over."""
    params = normal_params(key, w=(3, 5, 5), b=(3, 5), head=(5, 2))
    params["w"] = params["w"] * 3**0.5
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        def layer(h, leaves):
            return jnp.tanh(h @ leaves["w"] + leaves["b"]), None

        h, _ = lax.scan(layer, x, {"w": params["w"], "b": params["b"]})
        return h @ params["head"]

    return f, params, x1, x2


CASES = (
    Case(name="plain_rnn_unrolled", build=rnn_unrolled),
    Case(name="plain_rnn_scanned", build=rnn_scanned),
    Case(name="plain_stacked_layers", build=stacked_layers),
)
