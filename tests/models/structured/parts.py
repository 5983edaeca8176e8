"""Leaves that are cut, joined, padded, turned or masked before they meet data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params
from tests.models.structured.case import DOT, StructuredCase


def sliced(key: jax.Array) -> Problem:
    """Two layers and a gate cut out of one matrix."""
    params = normal_params(key, w=(3, 12), head=(5, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"][:, 2:7])
        return hidden @ params["head"] * jnp.tanh(x @ params["w"][:, 7:9])

    return f, params, *normal_examples(key, 3)


def interleaved(key: jax.Array) -> Problem:
    """Even columns are values, odd ones gates."""
    params = normal_params(key, w=(3, 10), head=(5, 2))

    def f(params, x):
        values = lax.slice_in_dim(params["w"], 0, None, 2, axis=1)
        gates = lax.slice_in_dim(params["w"], 1, None, 2, axis=1)
        return (x @ values * jnp.tanh(x @ gates)) @ params["head"]

    return f, params, *normal_examples(key, 3)


def flat_vector(key: jax.Array) -> Problem:
    """All parameters in one vector."""
    params = normal_params(key, theta=(3 * 5 + 5 + 5 * 2,))

    def f(params, x):
        weight, bias, head = jnp.split(params["theta"], [15, 20])
        hidden = jnp.tanh(x @ weight.reshape(3, 5) + bias)
        return hidden @ head.reshape(5, 2)

    return f, params, *normal_examples(key, 3)


def packed_attention(key: jax.Array) -> Problem:
    """Queries, keys and values from one array."""
    params = normal_params(key, qkv=(3, 3, 4), out=(4, 2))

    def f(params, x):
        queries, keys, values = (x @ params["qkv"][:, part] for part in range(3))
        weights = jax.nn.softmax(jnp.einsum("nsk,ntk->nst", queries, keys))
        return (weights @ values @ params["out"]).sum(axis=1)

    return f, params, *normal_examples(key, 5, 3)


def padded_and_joined(key: jax.Array) -> Problem:
    """A weight made of two leaves, and one with zeros around it."""
    params = normal_params(key, upper=(3, 4), lower=(2, 4), head=(4, 2))

    def f(params, x):
        weight = jnp.concatenate([params["upper"], params["lower"]], axis=0)
        return jnp.tanh(x @ weight) @ jnp.pad(params["head"], ((0, 0), (1, 2)))

    return f, params, *normal_examples(key, 5)


def turned_around(key: jax.Array) -> Problem:
    params = normal_params(key, w=(3, 4), head=(4, 2))

    def f(params, x):
        return jnp.tanh(x @ params["w"][::-1]) @ params["head"][:, ::-1]

    return f, params, *normal_examples(key, 3)


def rolled(key: jax.Array) -> Problem:
    """The last row comes first: two parts of a leaf, joined the other way round."""
    params = normal_params(key, w=(3, 4), head=(4, 2))

    def f(params, x):
        return jnp.tanh(x @ jnp.roll(params["w"], 1, axis=0)) @ params["head"]

    return f, params, *normal_examples(key, 3)


def masked(key: jax.Array) -> Problem:
    """A triangular weight, and one of which a row is frozen at zero."""
    params = normal_params(key, w=(3, 5), head=(5, 2))

    def f(params, x):
        head = params["head"].at[0].set(0.0)
        return jnp.tanh(x @ jnp.tril(params["w"])) @ head

    return f, params, *normal_examples(key, 3)


def written_into(key: jax.Array) -> Problem:
    """A leaf that is written into rows of a larger array."""
    params = normal_params(key, w=(2, 5), head=(5, 2))

    def f(params, x):
        weight = jnp.ones((3, 5), x.dtype).at[1:].set(params["w"])
        return jnp.tanh(x @ weight) @ params["head"]

    return f, params, *normal_examples(key, 3)


def overlapping(key: jax.Array) -> Problem:
    """Three uses of one leaf, of parts that overlap."""
    params = normal_params(key, w=(5, 3), head=(3, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"][:3])
        return jnp.tanh(hidden @ params["w"][2:].T @ params["w"][:3]) @ params["head"]

    return f, params, *normal_examples(key, 3)


def tied_transposed(key: jax.Array) -> Problem:
    """An autoencoder with one weight."""
    params = normal_params(key, w=(3, 5), out=(3,))

    def f(params, x):
        return jnp.tanh(x @ params["w"]) @ params["w"].T + params["out"]

    return f, params, *normal_examples(key, 3)


def tied_and_turned(key: jax.Array) -> Problem:
    """One weight used twice, the second time upside down."""
    params = normal_params(key, w=(3, 3), head=(3, 2))

    def f(params, x):
        hidden = jnp.tanh(x @ params["w"])
        return jnp.tanh(hidden @ params["w"][::-1]) @ params["head"]

    return f, params, *normal_examples(key, 3)


CASES = (
    StructuredCase(
        name="sliced",
        build=sliced,
        rules={"head": DOT, "w": DOT},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="interleaved",
        build=interleaved,
        rules={"head": DOT, "w": DOT},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="flat_vector",
        build=flat_vector,
        rules={"theta": ("dot_general", "add")},
        n_uses={"theta": 3},
    ),
    StructuredCase(
        name="packed_attention",
        build=packed_attention,
        rules={"out": DOT, "qkv": DOT},
        n_uses={"qkv": 3},
    ),
    StructuredCase(
        name="padded_and_joined",
        build=padded_and_joined,
        rules={"head": DOT, "lower": DOT, "upper": DOT},
    ),
    StructuredCase(
        name="turned_around",
        build=turned_around,
        rules={"head": DOT, "w": DOT},
    ),
    StructuredCase(
        name="rolled",
        build=rolled,
        rules={"head": DOT, "w": DOT},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="masked",
        build=masked,
        rules={"head": ("scatter", "dot_general"), "w": ("select_n", "dot_general")},
    ),
    StructuredCase(
        name="written_into",
        build=written_into,
        rules={"head": DOT, "w": ("scatter", "dot_general")},
    ),
    StructuredCase(
        name="overlapping",
        build=overlapping,
        rules={"head": DOT, "w": ("slice", "dot_general")},
        n_uses={"w": 3},
    ),
    StructuredCase(
        name="tied_transposed",
        build=tied_transposed,
        rules={"out": ("add",), "w": DOT},
        n_uses={"w": 2},
    ),
    StructuredCase(
        name="tied_and_turned",
        build=tied_and_turned,
        rules={"head": DOT, "w": ("dot_general", "rev")},
        n_uses={"w": 2},
    ),
)
