"""Tables that are looked up at indices: embeddings, one-hot products, graphs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params, token_examples
from tests.models.structured.case import DOT, StructuredCase

N_TOKENS = 7


def embedded(key: jax.Array) -> Problem:
    params = normal_params(key, table=(N_TOKENS, 3), head=(3, 2))

    def f(params, tokens):
        return (jnp.tanh(params["table"][tokens]) @ params["head"]).sum(axis=1)

    return f, params, *token_examples(key, N_TOKENS, 5)


def taken(key: jax.Array) -> Problem:
    """Rows of a transposed table; indices past its end are filled with NaN, or none."""
    params = normal_params(key, table=(3, N_TOKENS), head=(3, 2))

    def f(params, tokens):
        rows = jnp.take(params["table"].T, tokens + 1, axis=0, fill_value=0.5)
        return (jnp.tanh(rows) @ params["head"]).sum(axis=1)

    return f, params, *token_examples(key, N_TOKENS, 5)


def tied_to_the_head(key: jax.Array) -> Problem:
    """A language model with positions, whose table is its head as well."""
    params = normal_params(key, table=(N_TOKENS, 3), positions=(9, 3), w=(3, 3))

    def f(params, tokens):
        rows = params["table"][tokens] + params["positions"][jnp.arange(5)]
        hidden = jnp.tanh(rows @ params["w"])
        return (hidden @ params["table"].T)[:, -1, :2]

    return f, params, *token_examples(key, N_TOKENS, 5)


def class_token(key: jax.Array) -> Problem:
    """A learned token before those that are looked up."""
    params = normal_params(key, first=(3,), table=(N_TOKENS, 3), head=(3, 2))

    def f(params, tokens):
        first = jnp.broadcast_to(params["first"], (len(tokens), 1, 3))
        rows = jnp.concatenate([first, params["table"][tokens]], axis=1)
        return (jnp.tanh(rows) @ params["head"]).sum(axis=1)

    return f, params, *token_examples(key, N_TOKENS, 5)


def one_hot(key: jax.Array) -> Problem:
    params = normal_params(key, table=(N_TOKENS, 3), head=(3, 2))

    def f(params, tokens):
        hot = jax.nn.one_hot(tokens, N_TOKENS, dtype=params["table"].dtype)
        return (jnp.tanh(hot @ params["table"]) @ params["head"]).sum(axis=1)

    return f, params, *token_examples(key, N_TOKENS, 5)


def windows_of_a_table(key: jax.Array) -> Problem:
    """Four rows of a table, from one that every example names."""
    params = normal_params(key, table=(9, 3), head=(3, 2))
    starts, values = token_examples(key, N_TOKENS), normal_examples(key, 3)

    def f(params, x):
        def rows(start):
            return lax.dynamic_slice_in_dim(params["table"], start, 4)

        hidden = jnp.tanh(jax.vmap(rows)(x["start"]) * x["value"][:, None])
        return (hidden @ params["head"]).sum(axis=1)

    x1, x2 = (
        {"start": start, "value": value}
        for start, value in zip(starts, values, strict=True)
    )
    return f, params, x1, x2


def graph_network(key: jax.Array) -> Problem:
    """Messages along edges, summed at the nodes they point to."""
    n_nodes = 5
    params = normal_params(key, w=(3, 4), kinds=(4, 4), head=(4, 2))
    nodes, kinds = normal_examples(key, n_nodes, 3), token_examples(key, 4, 7)
    edges = token_examples(jax.random.fold_in(key, 1), n_nodes, 7, 2)

    def f(params, x):
        def one(nodes, edges, kinds):
            sent = (nodes @ params["w"])[edges[:, 0]] * params["kinds"][kinds]
            received = jax.ops.segment_sum(sent, edges[:, 1], n_nodes)
            return (jnp.tanh(received) @ params["head"]).sum(axis=0)

        return jax.vmap(one)(x["nodes"], x["edges"], x["kinds"])

    x1, x2 = (
        {"nodes": nodes[side], "edges": edges[side], "kinds": kinds[side]}
        for side in (0, 1)
    )
    return f, params, x1, x2


GATHER = ("gather",)

CASES = (
    StructuredCase(
        name="embedded", build=embedded, rules={"head": DOT, "table": GATHER}
    ),
    StructuredCase(name="taken", build=taken, rules={"head": DOT, "table": GATHER}),
    StructuredCase(
        name="tied_to_the_head",
        build=tied_to_the_head,
        rules={
            "positions": ("gather", "add"),
            "table": ("gather", "dot_general"),
            "w": DOT,
        },
        n_uses={"table": 2},
    ),
    StructuredCase(
        name="class_token",
        build=class_token,
        rules={"first": ("concatenate",), "head": DOT, "table": GATHER},
    ),
    StructuredCase(name="one_hot", build=one_hot, rules={"head": DOT, "table": DOT}),
    StructuredCase(
        name="windows_of_a_table",
        build=windows_of_a_table,
        rules={"head": DOT, "table": GATHER},
    ),
    StructuredCase(
        name="graph_network",
        build=graph_network,
        rules={"head": DOT, "kinds": GATHER, "w": DOT},
    ),
)
