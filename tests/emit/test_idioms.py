"""What prints as a public function traces to just what it was printed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import Literal, Var
from ntkplan.emit.primitives.idioms.matching import Producers
from ntkplan.emit.primitives.parameters import stable_text
from ntkplan.ir.equation import Atom, Body
from tests.emit import evaluation
from tests.emit.functions import B, W, X, Y, array, indices
from tests.emit.idioms import IDIOMS

BY_NAME = pytest.mark.parametrize("idiom", IDIOMS, ids=[idiom.name for idiom in IDIOMS])
_IDENTITIES = ("copy", "convert_element_type", "reshape")


class _Terms:
    """Numbers for terms: equal ones are made of equal parts."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def outputs(self, body: Body) -> list[int]:
        """Returns the numbers of what a body computes from inputs in their order."""
        producers = Producers(body)
        known: dict[Var, int] = {}
        for index, variable in enumerate(body.inputs):
            known[variable] = self._number(("input", index))

        def term(item: Atom) -> int:
            number = producers.number(item)
            if number is not None:
                return self._number((*_kind(item), np.asarray(number).tobytes()))
            assert not isinstance(item, Literal)
            if item not in known:
                equation = producers.find(item)
                assert equation is not None
                first = [term(operand) for operand in equation.inputs]
                if equation.primitive.name in _IDENTITIES and _kind(
                    equation.inputs[0]
                ) == _kind(equation.outputs[0]):
                    known[item] = first[0]
                    return known[item]
                parameters = {
                    key: value
                    for key, value in equation.parameters.items()
                    if key not in ("weak_type", "sharding")
                }
                name = equation.primitive.name
                whole = (name, stable_text(parameters), *first)
                for position, output in enumerate(equation.outputs):
                    known[output] = self._number((*whole, position, *_kind(output)))
            return known[item]

        return [term(item) for item in body.outputs]

    def _number(self, key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def _kind(item: Atom) -> tuple[Any, ...]:
    return item.aval.shape, str(item.aval.dtype)


def assert_traces_to_the_same(function: Callable[..., Any], *arguments: Any) -> None:
    body = evaluation.traced(function, *arguments)
    printed = evaluation.evaluate_printed(body, evaluation.printed(body))
    again = evaluation.traced(lambda *inputs: printed({}, *inputs), *arguments)
    terms = _Terms()
    assert terms.outputs(again) == terms.outputs(body)


@BY_NAME
def test_text(idiom):
    body = evaluation.traced(idiom.function, *idiom.arguments)
    result = evaluation.printed(body)
    if idiom.text == "x0":
        assert result.lines in ((), ("h0 = x0",))
    else:
        name = "" if "\nh0 = " in idiom.text else "h0 = "
        assert "\n".join(result.lines) == f"{name}{idiom.text}"


@BY_NAME
def test_trace(idiom):
    if idiom.is_traced:
        assert_traces_to_the_same(idiom.function, *idiom.arguments)
        return
    body = evaluation.traced(idiom.function, *idiom.arguments)
    printed = evaluation.evaluate_printed(body, evaluation.printed(body))
    (found,) = printed({}, *map(jnp.asarray, idiom.arguments))
    np.testing.assert_array_equal(found, idiom.function(*idiom.arguments))


def lines(function: Callable[..., Any], *arguments: Any) -> str:
    body = evaluation.traced(function, *arguments)
    return "\n".join(evaluation.printed(body).lines)


def test_one_entry_by_a_function_is_an_index_where_jax_makes_them_the_same():
    def function(x, place):
        return lax.dynamic_index_in_dim(x, place, axis=1, keepdims=False)

    assert lines(function, X, np.int32(2)) in (
        "h0 = lax.dynamic_index_in_dim(x0, x1, axis=1, keepdims=False)",
        "h0 = x0[:, x1]",
    )
    assert_traces_to_the_same(function, X, np.int32(2))


@jax.custom_jvp
def relu6(x):
    return jnp.minimum(jnp.maximum(x, 0.0), 6.0)


relu6.defjvp(lambda primals, tangents: (relu6(*primals), 3.0 * tangents[0]))


@pytest.mark.parametrize(
    ("function", "arguments", "not_printed"),
    [
        (lambda x: x * relu6(x + 3.0) / 6.0, (X,), "hard_swish"),
        (lambda x: x * (relu6(x + 3.0) / 6.0), (X,), "hard_swish"),
        (lambda x: x / (jnp.abs(x) + 2.0), (X,), "soft_sign"),
        (lambda x: jnp.where(x > 0.5, x, 0.1 * x), (X,), "leaky_relu"),
        (lambda x, y: jnp.where(x > 0.0, y, 0.1 * x), (X, Y), "leaky_relu"),
        (lambda x: jnp.sum(x, -1) / 7.0, (X,), "mean"),
        (
            lambda t, i: t[jnp.where(i < 0, i + 8, i)],
            (array(9, 4), indices(3, limit=8)),
            "t[x1]",
        ),
        (lambda x: jnp.minimum(0.5, jnp.maximum(x, -0.5)), (X,), "clip"),
        (lambda x: jnp.sqrt(2.0) * lax.erf_inv(x), (X,), "normal"),
        (
            lambda i: (i[..., None] == jnp.arange(1, 5)) * 2.0,
            (indices(3, limit=4),),
            "one_hot",
        ),
    ],
)
def test_what_is_almost_a_public_function_is_not_taken_for_it(
    function, arguments, not_printed
):
    text = lines(function, *arguments)
    assert not_printed not in text
    assert_traces_to_the_same(function, *arguments)


def test_an_inner_value_that_is_read_elsewhere_is_kept():
    def function(x):
        mean = jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True)
        return jnp.sqrt(variance) + (x - mean)

    text = lines(function, X)
    assert "jnp.var" not in text
    assert "jnp.std" not in text
    assert text.count("- jnp.mean") + text.count("h0 = jnp.mean") == 1


def test_indices_that_are_read_elsewhere_are_computed_where_they_are_read():
    def function(table, rows, x):
        inside = jnp.where(rows < 0, rows + 9, rows)
        taken = table.at[inside].get(
            mode="promise_in_bounds", wrap_negative_indices=False
        )
        h = jnp.tanh(jnp.tanh(taken @ x) @ x) @ x
        return jnp.tanh(jnp.sin(h) @ x) + inside.astype(jnp.float32)[..., None]

    arguments = (array(9, 8), indices(1, 5, limit=9), W)
    text = lines(function, *arguments)
    assert "x0[x1]" in text
    assert text.index("jnp.where(x1 < 0, x1 + 9, x1)") > text.index("x0[x1]")
    assert_traces_to_the_same(function, *arguments)


def test_what_nothing_reads_is_not_printed():
    text = lines(lambda x, b: (jnp.sin(x), jnp.cos(x))[0] + b, X, B)
    assert text == "h0 = jnp.sin(x0) + x1"
