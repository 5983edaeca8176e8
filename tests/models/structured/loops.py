"""Leaves inside of loops: closed over, scanned over, nested, unrolled, checkpointed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Problem, normal_examples, normal_params
from tests.models.structured.case import DOT, StructuredCase


def recurrent_params(key: jax.Array) -> dict[str, jax.Array]:
    return normal_params(key, inward=(3, 4), w=(4, 4), b=(4,), head=(4, 2))


def next_state(params, state, entry):
    return jnp.tanh(entry @ params["inward"] + state @ params["w"] + params["b"])


def recurrence(key: jax.Array) -> Problem:
    def f(params, x):
        def step(state, entry):
            return next_state(params, state, entry), None

        state, _ = lax.scan(step, jnp.zeros((len(x), 4), x.dtype), x.swapaxes(0, 1))
        return state @ params["head"]

    return f, recurrent_params(key), *normal_examples(key, 6, 3)


def reversed_recurrence(key: jax.Array) -> Problem:
    """From the last step to the first, every state read out."""

    def f(params, x):
        def step(state, entry):
            state = next_state(params, state, entry)
            return state, state @ params["head"]

        start = jnp.zeros((len(x), 4), x.dtype)
        _, outputs = lax.scan(step, start, x.swapaxes(0, 1), reverse=True)
        return outputs.sum(axis=0)

    return f, recurrent_params(key), *normal_examples(key, 6, 3)


def unrolled_recurrence(key: jax.Array) -> Problem:
    def f(params, x):
        state = jnp.zeros((len(x), 4), x.dtype)
        for time in range(5):
            state = next_state(params, state, x[:, time])
        return state @ params["head"]

    return f, recurrent_params(key), *normal_examples(key, 5, 3)


def scanned_layers(key: jax.Array) -> Problem:
    """Weights and biases of five layers, one after the other."""
    params = normal_params(key, w=(5, 3, 3), b=(5, 3), head=(3, 2))

    def f(params, x):
        def layer(hidden, leaves):
            return jnp.tanh(hidden @ leaves["w"] + leaves["b"]), None

        leaves = {"w": params["w"], "b": params["b"]}
        hidden, _ = lax.scan(layer, x, leaves)
        return hidden @ params["head"]

    return f, params, *normal_examples(key, 3)


def nested(key: jax.Array) -> Problem:
    """Each of three layers is applied twice; another weight is used in all of them."""
    params = normal_params(key, w=(3, 3, 3), shared=(3, 3), head=(3, 2))

    def f(params, x):
        def outer(hidden, weight):
            def inner(hidden, _):
                return jnp.tanh(hidden @ weight + hidden @ params["shared"]), None

            return lax.scan(inner, hidden, None, length=2)[0], None

        return lax.scan(outer, x, params["w"])[0] @ params["head"]

    return f, params, *normal_examples(key, 3)


def counted(key: jax.Array) -> Problem:
    """`fori_loop` with a count that is known."""
    params = normal_params(key, w=(3, 3), head=(3, 2))

    def f(params, x):
        hidden = lax.fori_loop(0, 4, lambda _, h: jnp.tanh(h @ params["w"]), x)
        return hidden @ params["head"]

    return f, params, *normal_examples(key, 3)


def counted_and_indexed(key: jax.Array) -> Problem:
    """Layers that are looked up by the loop's counter."""
    params = normal_params(key, w=(4, 3, 3), head=(3, 2))

    def f(params, x):
        hidden = lax.fori_loop(0, 4, lambda i, h: jnp.tanh(h @ params["w"][i]), x)
        return hidden @ params["head"]

    return f, params, *normal_examples(key, 3)


def scanned_convolutions(key: jax.Array) -> Problem:
    params = normal_params(key, kernels=(3, 3, 3, 2, 2), head=(2, 2))

    def f(params, x):
        def layer(hidden, kernel):
            hidden = lax.conv_general_dilated(
                hidden,
                kernel,
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            return jnp.tanh(hidden), None

        hidden, _ = lax.scan(layer, x, params["kernels"])
        return hidden.mean(axis=(1, 2)) @ params["head"]

    return f, params, *normal_examples(key, 4, 4, 2)


def checkpointed(key: jax.Array) -> Problem:
    params = normal_params(key, w=(3, 3), u=(3, 3), head=(3, 2))

    def f(params, x):
        @jax.checkpoint
        def block(hidden, weight):
            return jnp.tanh(jnp.sin(hidden @ weight) @ params["u"])

        return block(x, params["w"]) @ params["head"]

    return f, params, *normal_examples(key, 3)


def scanned_checkpoints(key: jax.Array) -> Problem:
    """Layers of which only the inputs are kept for the backward sweep."""
    params = normal_params(key, w=(3, 4, 4), u=(3, 4, 4), head=(4, 2))

    def f(params, x):
        @jax.checkpoint
        def layer(hidden, leaves):
            return hidden + jnp.tanh(hidden @ leaves["w"]) @ leaves["u"], None

        leaves = {"w": params["w"], "u": params["u"]}
        return lax.scan(layer, x, leaves)[0] @ params["head"]

    return f, params, *normal_examples(key, 4)


def all_states_at_once(key: jax.Array) -> Problem:
    """A linear recurrence by `associative_scan`; its decay is one for all steps."""
    params = normal_params(key, w=(3, 4), decay=(4,), head=(4, 2))

    def f(params, x):
        entries = x @ params["w"]
        decays = jnp.broadcast_to(jax.nn.sigmoid(params["decay"]), entries.shape)

        def joined(left, right):
            return left[0] * right[0], left[1] * right[0] + right[1]

        _, states = lax.associative_scan(joined, (decays, entries), axis=1)
        return states[:, -1] @ params["head"]

    return f, params, *normal_examples(key, 6, 3)


def running_products(key: jax.Array) -> Problem:
    """Gates that are running products of a leaf, for which there is no rule."""
    params = normal_params(key, w=(3, 4), decay=(4,), head=(4, 2))

    def f(params, x):
        gates = jnp.cumprod(jax.nn.sigmoid(params["decay"]))
        return (jnp.tanh(x @ params["w"]) * gates) @ params["head"]

    return f, params, *normal_examples(key, 3)


RECURRENT = {"b": ("add",), "head": DOT, "inward": DOT, "w": DOT}

CASES = (
    StructuredCase(name="recurrence", build=recurrence, rules=RECURRENT),
    StructuredCase(
        name="reversed_recurrence", build=reversed_recurrence, rules=RECURRENT
    ),
    StructuredCase(
        name="unrolled_recurrence",
        build=unrolled_recurrence,
        rules=RECURRENT,
        n_uses={"b": 5, "inward": 5, "w": 5},
    ),
    StructuredCase(
        name="scanned_layers",
        build=scanned_layers,
        rules={"b": ("add",), "head": DOT, "w": DOT},
    ),
    StructuredCase(
        name="nested",
        build=nested,
        rules={"head": DOT, "shared": DOT, "w": DOT},
    ),
    StructuredCase(name="counted", build=counted, rules={"head": DOT, "w": DOT}),
    StructuredCase(
        name="counted_and_indexed",
        build=counted_and_indexed,
        rules={"head": DOT, "w": ("dynamic_slice", "dot_general")},
    ),
    StructuredCase(
        name="scanned_convolutions",
        build=scanned_convolutions,
        rules={"head": DOT, "kernels": ("conv_general_dilated",)},
    ),
    StructuredCase(
        name="checkpointed",
        build=checkpointed,
        rules={"head": DOT, "u": DOT, "w": DOT},
    ),
    StructuredCase(
        name="scanned_checkpoints",
        build=scanned_checkpoints,
        rules={"head": DOT, "u": DOT, "w": DOT},
    ),
    StructuredCase(
        name="all_states_at_once",
        build=all_states_at_once,
        rules={"decay": ("logistic", "mul"), "head": DOT, "w": DOT},
        n_uses={"decay": 6},
    ),
    StructuredCase(
        name="running_products",
        build=running_products,
        rules={"decay": ("opaque",), "head": DOT, "w": DOT},
        opaque={"decay": "no rule for `cumprod`"},
    ),
)
