"""Leaves inside of branches, chosen once for all examples or for each of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params
from tests.models.structured.case import DOT, StructuredCase


def branch_by_example(key: jax.Array) -> Problem:
    """`cond` under `vmap`: both branches are computed and one is selected."""
    params = normal_params(key, w=(3, 3), u=(3, 3), head=(3, 2))

    def f(params, x):
        def one(x):
            return lax.cond(
                x[0] > 0,
                lambda x: jnp.tanh(x @ params["w"]),
                lambda x: jnp.sin(x @ params["u"] + x @ params["w"]),
                x,
            )

        return jax.vmap(one)(x) @ params["head"]

    return f, params, *normal_examples(key, 3)


def branch_by_leaf(key: jax.Array) -> Problem:
    """A branch that the value of a leaf chooses, the same for every example."""
    params = normal_params(key, w=(3, 3), u=(3, 3), head=(3, 2))

    def f(params, x):
        hidden = lax.cond(
            params["head"][0, 0] > 0,
            lambda x: jnp.tanh(x @ params["w"]),
            lambda x: jnp.sin(x @ params["u"] + x @ params["w"]),
            x,
        )
        return hidden @ params["head"]

    return f, params, *normal_examples(key, 3)


def branch_of_three(key: jax.Array) -> Problem:
    """`switch` between experts, by example."""
    params = normal_params(key, w=(3, 3, 3), head=(3, 2))

    def f(params, x):
        def expert(number):
            return lambda x: jnp.tanh(x @ params["w"][number])

        def one(x):
            chosen = (x[0] > 0).astype(int) + (x[1] > 0)
            return lax.switch(chosen, [expert(number) for number in range(3)], x)

        return jax.vmap(one)(x) @ params["head"]

    return f, params, *normal_examples(key, 3)


def branch_in_a_loop(key: jax.Array) -> Problem:
    """Layers that are taken every second time, and others that are taken else."""
    params = normal_params(key, w=(3, 3), u=(4, 3, 3), head=(3, 2))

    def f(params, x):
        def layer(hidden, entry):
            count, weight = entry
            hidden = lax.cond(
                count % 2 == 0,
                lambda h: jnp.tanh(h @ params["w"]),
                lambda h: jnp.sin(h @ weight),
                hidden,
            )
            return hidden, None

        hidden, _ = lax.scan(layer, x, (jnp.arange(4), params["u"]))
        return hidden @ params["head"]

    return f, params, *normal_examples(key, 3)


def branch_of_a_number(key: jax.Array) -> Problem:
    """A branch that returns a number, against one that computes it from a leaf."""
    params = normal_params(key, w=(3, 3), head=(3, 2))

    def f(params, x):
        w = params["w"]
        scale = lax.cond(
            params["head"][0, 0] > 0, lambda: jnp.sum(w[:2] * w[1:]), lambda: 0.5
        )
        return jnp.tanh(scale * x) @ params["head"]

    return f, params, *normal_examples(key, 3)


def numbers_in_a_checkpoint(key: jax.Array) -> Problem:
    """A row and a slice of a leaf, chosen by number inside of a checkpoint."""
    params = normal_params(key, w=(3, 3), head=(3, 2))

    def f(params, x):
        def block(x, w):
            return jnp.tanh(x @ w) * w[0] + x @ w[1:2].T

        return jax.checkpoint(block)(x, params["w"]) @ params["head"]

    return f, params, *normal_examples(key, 3)


SELECTED = ("select_n", "dot_general")

CASES = (
    StructuredCase(
        name="branch_by_example",
        build=branch_by_example,
        rules={"head": DOT, "u": SELECTED, "w": SELECTED},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="branch_by_leaf",
        build=branch_by_leaf,
        rules={"head": DOT, "u": DOT, "w": DOT},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="branch_of_three",
        build=branch_of_three,
        rules={"head": DOT, "w": SELECTED},
        n_uses={"w": 3},
    ),
    StructuredCase(
        name="branch_in_a_loop",
        build=branch_in_a_loop,
        rules={"head": DOT, "u": DOT, "w": DOT},
    ),
    StructuredCase(
        name="branch_of_a_number",
        build=branch_of_a_number,
        rules={"head": DOT, "w": ("opaque",)},
        opaque={"w": "a loop or branch returns it"},
    ),
    StructuredCase(
        name="numbers_in_a_checkpoint",
        build=numbers_in_a_checkpoint,
        rules={"head": DOT, "w": ("dot_general", "slice", "mul")},
        n_uses={"w": 3},
    ),
)
