"""Products with data in all their forms: experts, heads, bilinear maps, derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params
from tests.models.structured.case import DOT, StructuredCase


def mixture_of_experts(key: jax.Array) -> Problem:
    params = normal_params(key, w=(3, 4, 5), gates=(4, 3), head=(5, 2))

    def f(params, x):
        gates = jax.nn.softmax(x @ params["gates"])
        hidden = jnp.tanh(jnp.einsum("nd,edk->nek", x, params["w"]))
        return jnp.einsum("nek,ne->nk", hidden, gates) @ params["head"]

    return f, params, *normal_examples(key, 4)


def heads_in_one_array(key: jax.Array) -> Problem:
    """Queries, keys and values of all heads by one einsum."""
    params = normal_params(key, w=(4, 3, 2, 3), head=(6, 2))

    def f(params, x):
        q, k, v = jnp.einsum("nsd,dthk->tnshk", x, params["w"])
        weights = jax.nn.softmax(jnp.einsum("nshk,nthk->nhst", q, k))
        mixed = jnp.einsum("nhst,nthk->nshk", weights, v)
        return mixed.reshape(len(x), 5, 6).mean(axis=1) @ params["head"]

    return f, params, *normal_examples(key, 5, 4)


def weights_by_head(key: jax.Array) -> Problem:
    """A product that shares the axis of heads between weight and data."""
    params = normal_params(key, w=(2, 3, 4), head=(8, 2))

    def f(params, x):
        hidden = jnp.tanh(jnp.einsum("nhd,hdk->nhk", x, params["w"]))
        return hidden.reshape(len(x), 8) @ params["head"]

    return f, params, *normal_examples(key, 2, 3)


def bilinear(key: jax.Array) -> Problem:
    params = normal_params(key, w=(3, 4, 2))
    left, right = normal_examples(key, 3), normal_examples(key, 4)

    def f(params, x):
        return jnp.einsum("ni,ijk,nj->nk", x["left"], params["w"], x["right"])

    x1, x2 = (
        {"left": one, "right": other} for one, other in zip(left, right, strict=True)
    )
    return f, params, x1, x2


def modulated(key: jax.Array) -> Problem:
    """FiLM: scales and shifts that a second input gives."""
    params = normal_params(key, w=(3, 4), scale=(3, 4), shift=(3, 4), head=(4, 2))
    values = normal_examples(key, 3)
    contexts = normal_examples(jax.random.fold_in(key, 1), 3)

    def f(params, x):
        scale = 1.0 + x["context"] @ params["scale"]
        shift = x["context"] @ params["shift"]
        return jnp.tanh(x["value"] @ params["w"] * scale + shift) @ params["head"]

    x1, x2 = (
        {"value": value, "context": context}
        for value, context in zip(values, contexts, strict=True)
    )
    return f, params, x1, x2


def convolution(key: jax.Array) -> Problem:
    params = normal_params(key, kernel=(3, 3, 2, 4), bias=(4,), head=(4, 2))

    def f(params, x):
        hidden = lax.conv_general_dilated(
            x,
            params["kernel"],
            (2, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jnp.tanh(hidden + params["bias"]).mean(axis=(1, 2)) @ params["head"]

    return f, params, *normal_examples(key, 5, 5, 2)


def laplacian(key: jax.Array) -> Problem:
    """A physics-informed network: second derivatives by its input."""
    params = normal_params(key, w=(3, 4), b=(4,), head=(4, 1))

    def f(params, x):
        def potential(point):
            return (jnp.tanh(point @ params["w"] + params["b"]) @ params["head"])[0]

        def residual(point):
            return jnp.trace(jax.hessian(potential)(point)) + potential(point)

        return jax.vmap(residual)(x)[:, None]

    return f, params, *normal_examples(key, 3)


CASES = (
    StructuredCase(
        name="mixture_of_experts",
        build=mixture_of_experts,
        rules={"gates": DOT, "head": DOT, "w": DOT},
    ),
    StructuredCase(
        name="heads_in_one_array",
        build=heads_in_one_array,
        rules={"head": DOT, "w": DOT},
    ),
    StructuredCase(
        name="weights_by_head",
        build=weights_by_head,
        rules={"head": DOT, "w": DOT},
    ),
    StructuredCase(name="bilinear", build=bilinear, rules={"w": DOT}),
    StructuredCase(
        name="modulated",
        build=modulated,
        rules={"head": DOT, "scale": DOT, "shift": DOT, "w": DOT},
    ),
    StructuredCase(
        name="convolution",
        build=convolution,
        rules={"bias": ("add",), "head": DOT, "kernel": ("conv_general_dilated",)},
    ),
    StructuredCase(
        name="laplacian",
        build=laplacian,
        rules={
            "b": ("add",),
            "head": ("dot_general", "mul"),
            "w": ("dot_general", "mul", "add"),
        },
        n_uses={"b": 2, "head": 3, "w": 5},
    ),
)
