"""Leaves that are multiplied by arrays without data, or are so in their derivative."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params
from tests.models.structured.case import DOT, StructuredCase


def low_rank_update(key: jax.Array) -> Problem:
    """LoRA: a weight plus a product of two thin ones."""
    params = normal_params(key, w=(3, 5), down=(3, 2), up=(2, 5), head=(5, 2))

    def f(params, x):
        weight = params["w"] + 0.5 * params["down"] @ params["up"]
        return jnp.tanh(x @ weight) @ params["head"]

    return f, params, *normal_examples(key, 3)


def exponential_scale(key: jax.Array) -> Problem:
    params = normal_params(key, log_scale=(5,), w=(3, 5), head=(5, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"] * jnp.exp(params["log_scale"]))
        return hidden @ jnp.square(params["head"])

    return f, params, *normal_examples(key, 3)


def softplus_scale(key: jax.Array) -> Problem:
    """Functions whose derivatives JAX has rules of its own for."""
    params = normal_params(key, scale=(5,), w=(3, 5), head=(5, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"] * jax.nn.softplus(params["scale"]))
        return hidden @ jax.nn.relu(params["head"])

    return f, params, *normal_examples(key, 3)


def divided(key: jax.Array) -> Problem:
    """A leaf that data are divided by, and one that is divided by data."""
    params = normal_params(key, g_scale=(5,), w=(3, 5), head=(5, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"]) / params["g_scale"]
        shift = params["head"][0] / (2.0 + jnp.sin(x[:, :1]))
        return hidden @ params["head"] + shift

    return f, params, *normal_examples(key, 3)


def standardised(key: jax.Array) -> Problem:
    """Weight standardisation: every column with mean zero and variance one."""
    params = normal_params(key, w=(4, 5), head=(5, 2))

    def f(params, x):
        centred = params["w"] - params["w"].mean(axis=0)
        weight = centred / jnp.sqrt(jnp.square(centred).mean(axis=0) + 1e-5)
        return jnp.tanh(x @ weight) @ params["head"]

    return f, params, *normal_examples(key, 4)


def normalised(key: jax.Array) -> Problem:
    """Weight normalisation: a direction and a gain for every column."""
    params = normal_params(key, gain=(5,), w=(3, 5), head=(5, 2))

    def f(params, x):
        norms = jnp.sqrt(jnp.square(params["w"]).sum(axis=0))
        return jnp.tanh(x @ (params["w"] / norms * params["gain"])) @ params["head"]

    return f, params, *normal_examples(key, 3)


def spectrally_normalised(key: jax.Array) -> Problem:
    """A weight over its largest singular value, by two steps of a power iteration."""
    params = normal_params(key, w=(3, 5), head=(5, 2))

    def unit(vector):
        return lax.stop_gradient(vector / jnp.linalg.norm(vector))

    def largest(weight):
        right = unit(unit(jnp.ones(3, weight.dtype) @ weight) @ weight.T @ weight)
        return unit(weight @ right) @ weight @ right

    def f(params, x):
        weight = params["w"] / largest(params["w"])
        return jnp.tanh(x @ weight) @ params["head"]

    return f, params, *normal_examples(key, 3)


def temperature(key: jax.Array) -> Problem:
    """A scalar leaf that multiplies data and divides another leaf."""
    params = normal_params(key, g=(), w=(3, 4), head=(4, 2))

    def f(params, x):
        hidden = jnp.exp(params["g"]) * jnp.tanh(x @ params["w"])
        return hidden @ (params["head"] / params["g"])

    return f, params, *normal_examples(key, 3)


def outer_product(key: jax.Array) -> Problem:
    params = normal_params(key, rows=(3,), columns=(4,), head=(4, 2))

    def f(params, x):
        weight = jnp.outer(params["rows"], params["columns"])
        return jnp.tanh(x @ weight) @ params["head"]

    return f, params, *normal_examples(key, 3)


def gram_of_leaf(key: jax.Array) -> Problem:
    """A positive weight: a leaf times itself."""
    params = normal_params(key, root=(3, 3), head=(3, 2))

    def f(params, x):
        return jnp.tanh(x @ (params["root"] @ params["root"].T)) @ params["head"]

    return f, params, *normal_examples(key, 3)


CASES = (
    StructuredCase(
        name="low_rank_update",
        build=low_rank_update,
        rules={"down": DOT, "head": DOT, "up": DOT, "w": DOT},
    ),
    StructuredCase(
        name="exponential_scale",
        build=exponential_scale,
        rules={
            "head": ("square", "dot_general"),
            "log_scale": ("exp", "mul"),
            "w": DOT,
        },
    ),
    StructuredCase(
        name="softplus_scale",
        build=softplus_scale,
        rules={
            "head": ("custom_jvp_call", "dot_general"),
            "scale": ("custom_jvp_call", "mul"),
            "w": DOT,
        },
    ),
    StructuredCase(
        name="divided",
        build=divided,
        rules={
            "g_scale": ("div",),
            "head": ("slice", "div", "dot_general"),
            "w": DOT,
        },
        n_uses={"head": 2},
    ),
    StructuredCase(
        name="standardised",
        build=standardised,
        rules={
            "head": DOT,
            "w": ("div", "dot_general", "reduce_sum", "square", "sqrt"),
        },
        n_uses={"w": 4},
    ),
    StructuredCase(
        name="normalised",
        build=normalised,
        rules={
            "gain": ("mul", "dot_general"),
            "head": DOT,
            "w": ("div", "mul", "dot_general", "square", "sqrt"),
        },
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="spectrally_normalised",
        build=spectrally_normalised,
        rules={"head": DOT, "w": ("dot_general", "div")},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="temperature",
        build=temperature,
        rules={
            "g": ("exp", "mul", "div", "dot_general"),
            "head": ("div", "dot_general"),
            "w": DOT,
        },
        n_uses={"g": 2},
    ),
    StructuredCase(
        name="outer_product",
        build=outer_product,
        rules={
            "columns": ("mul", "dot_general"),
            "head": DOT,
            "rows": ("mul", "dot_general"),
        },
    ),
    StructuredCase(
        name="gram_of_leaf",
        build=gram_of_leaf,
        rules={"head": DOT, "root": DOT},
        n_uses={"root": 2},
    ),
)
