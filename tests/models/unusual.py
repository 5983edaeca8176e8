"""Models in plain JAX with leaves that no linear rule covers, or awkward wrappings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params, token_examples


def exponential_scale(key: jax.Array) -> Problem:
    """A leaf that meets data only through `exp`."""
    params = normal_params(key, w=(5, 7), log_scale=(7,), head=(7, 3), temperature=())
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        h = jnp.tanh(x @ params["w"]) * jnp.exp(params["log_scale"])
        return h @ params["head"] / jnp.exp(params["temperature"])

    return f, params, x1, x2


def weight_normalised(key: jax.Array) -> Problem:
    """Weights divided by their norm, one gain for one column."""
    params = normal_params(key, v=(5, 7), g=(7,), head=(7, 3))
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        norm = jnp.sqrt(jnp.sum(jnp.square(params["v"]), axis=0))
        return jnp.tanh(x @ (params["v"] * params["g"] / norm)) @ params["head"]

    return f, params, x1, x2


def embedding_of_tokens(key: jax.Array) -> Problem:
    """Two look-ups in one table, integers in."""
    params = normal_params(key, table=(13, 5), w=(5, 7), head=(7, 3))
    x1, x2 = token_examples(key, 13, 4)

    def f(params, tokens):
        pooled = params["table"][tokens].mean(axis=1) + params["table"][tokens[:, 0]]
        return jnp.tanh(pooled @ params["w"]) @ params["head"]

    return f, params, x1, x2


def rematerialised(key: jax.Array) -> Problem:
    """`jax.checkpoint`, `jax.jit` and a custom JVP around the layers."""
    params = normal_params(key, w=(5, 7), b=(7,), u=(7, 7), head=(7, 3))
    x1, x2 = normal_examples(key, 5)

    @jax.custom_jvp
    def activation(x):
        return jnp.sin(x)

    activation.defjvps(lambda tangent, out, x: 1.5 * jnp.cos(x) * tangent)

    @jax.checkpoint
    def hidden(params, h):
        return activation(h @ params["u"] + params["b"])

    def f(params, x):
        h = jax.nn.relu(jax.jit(jnp.matmul)(x, params["w"]) + params["b"])
        return hidden(params, hidden(params, h)) @ params["head"]

    return f, params, x1, x2


def custom_vjp_layer(key: jax.Array) -> Problem:
    """A leaf inside a custom VJP whose rule is not the true derivative.

    The outputs are twice what the rule says, so that a kernel that looked through it
    would be a quarter off. Forward-mode derivatives do not exist.
    """
    params = normal_params(key, w=(5, 7), head=(7, 3))
    x1, x2 = normal_examples(key, 5)

    @jax.custom_vjp
    def layer(w, x):
        return 2.0 * (x @ w)

    def forward(w, x):
        return layer(w, x), (w, x)

    def backward(saved, cotangent):
        w, x = saved
        return x.T @ cotangent, cotangent @ w.T

    layer.defvjp(forward, backward)

    def f(params, x):
        return jnp.tanh(layer(params["w"], x)) @ params["head"]

    return f, params, x1, x2


def branching(key: jax.Array) -> Problem:
    """`lax.cond` by example, and `jnp.where` by size."""
    params = normal_params(key, positive=(5, 7), negative=(5, 7), head=(7, 3))
    x1, x2 = normal_examples(key, 5)

    def one(params, x):
        h = lax.cond(
            x[0] > x[1],
            lambda x: x @ params["positive"],
            lambda x: jnp.sin(x @ params["negative"]),
            x,
        )
        return jnp.where(jnp.abs(h) > 0.1, jnp.tanh(h), h) @ params["head"]

    def f(params, x):
        return jax.vmap(one, in_axes=(None, 0))(params, x)

    return f, params, x1, x2


def cumulative(key: jax.Array) -> Problem:
    """Sorts, running sums, concatenations and slices of leaves and activations."""
    params = normal_params(key, w=(5, 6), steps=(6,), halves=(6, 4))
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        h = jnp.sort(jnp.tanh(x @ params["w"]), axis=-1) + jnp.cumsum(params["steps"])
        left, right = jnp.split(params["halves"], 2, axis=1)
        return jnp.concatenate(
            [h @ left, jnp.cumsum(h, axis=-1) @ right[::-1]], axis=-1
        )

    return f, params, x1, x2


def solved(key: jax.Array) -> Problem:
    """A weight that is inverted, and one that is raised to a power."""
    params = normal_params(key, a=(5, 5), w=(5, 3))
    x1, x2 = normal_examples(key, 5)

    def f(params, x):
        matrix = params["a"] @ params["a"].T + 2.0 * jnp.eye(5)
        return jnp.linalg.solve(matrix, x.T).T @ params["w"] ** 3

    return f, params, x1, x2


CASES = (
    Case(name="plain_exponential_scale", build=exponential_scale),
    Case(name="plain_weight_normalised", build=weight_normalised),
    Case(name="plain_embedding", build=embedding_of_tokens),
    Case(name="plain_rematerialised", build=rematerialised),
    Case(name="plain_custom_vjp", build=custom_vjp_layer, forward_mode=False),
    Case(name="plain_branching", build=branching),
    Case(name="plain_cumulative", build=cumulative),
    Case(name="plain_solved", build=solved),
)
