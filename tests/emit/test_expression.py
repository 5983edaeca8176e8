"""Expressions mean what their parts mean, with no parenthesis too many."""

from __future__ import annotations

import ast

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from ntkplan.emit.expression import (
    OPERATORS,
    Expression,
    atom,
    attribute,
    binary,
    call,
    method,
    prefixed,
    sequence,
    statement,
    subscript,
)
from ntkplan.emit.primitives.value import number_text, number_value

_NODES = {
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
    "|": ast.BitOr,
    "^": ast.BitXor,
    "&": ast.BitAnd,
    "<<": ast.LShift,
    ">>": ast.RShift,
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "/": ast.Div,
    "//": ast.FloorDiv,
    "%": ast.Mod,
    "@": ast.MatMult,
    "**": ast.Pow,
}

trees = strategies.recursive(
    strategies.sampled_from(["a", "b", "c"]),
    lambda inner: strategies.one_of(
        strategies.tuples(strategies.sampled_from(sorted(OPERATORS)), inner, inner),
        strategies.tuples(strategies.sampled_from(["neg", "T", "index", "f"]), inner),
    ),
    max_leaves=6,
)


def _expression(tree) -> Expression:
    match tree:
        case str():
            return atom(tree)
        case ("neg", inner):
            return prefixed("-", _expression(inner))
        case ("T", inner):
            return attribute(_expression(inner), "T")
        case ("index", inner):
            return subscript(_expression(inner), "0")
        case ("f", inner):
            return call("f", _expression(inner))
        case (operator, left, right):
            return binary(operator, _expression(left), _expression(right))
    raise AssertionError(tree)


def _node(tree) -> ast.expr:
    match tree:
        case str():
            return ast.Name(tree, ast.Load())
        case ("neg", inner):
            return ast.UnaryOp(ast.USub(), _node(inner))
        case ("T", inner):
            return ast.Attribute(_node(inner), "T", ast.Load())
        case ("index", inner):
            return ast.Subscript(_node(inner), ast.Constant(0), ast.Load())
        case ("f", inner):
            return ast.Call(ast.Name("f", ast.Load()), [_node(inner)], [])
        case (operator, left, right):
            node = _NODES[operator]()
            if isinstance(node, ast.cmpop):
                return ast.Compare(_node(left), [node], [_node(right)])
            return ast.BinOp(_node(left), node, _node(right))
    raise AssertionError(tree)


@hypothesis.given(trees)
@hypothesis.settings(max_examples=1000, deadline=None)
def test_text_parses_to_the_same_tree(tree):
    text = _expression(tree).text
    assert ast.dump(ast.parse(text, mode="eval").body) == ast.dump(_node(tree))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (binary("-", atom("a"), binary("-", atom("b"), atom("c"))), "a - (b - c)"),
        (binary("*", binary("@", atom("a"), atom("b")), atom("c")), "(a @ b) * c"),
        (binary("+", binary("@", atom("a"), atom("b")), atom("c")), "a @ b + c"),
        (binary("**", call("f", atom("x")), atom("2")), "f(x) ** 2"),
        (binary("**", prefixed("-", atom("x")), atom("2")), "(-x) ** 2"),
        (prefixed("-", binary("**", atom("x"), atom("2"))), "-(x**2)"),
        (method(prefixed("-", atom("x")), "sum"), "(-x).sum()"),
        (sequence([], brackets="[]"), "[]"),
    ],
)
def test_parentheses(expression, text):
    assert expression.text == text


def test_a_long_call_is_split_at_its_arguments():
    long = call("f", *(atom(f"argument_{index}") for index in range(4)))
    assert statement("y = ", long, 52) == [
        "y = f(",
        "    argument_0, argument_1, argument_2, argument_3",
        ")",
    ]
    assert statement("y = ", long, 40)[1:] == [
        *(f"    argument_{index}," for index in range(4)),
        ")",
    ]


def test_what_has_no_brackets_is_put_into_some():
    total = binary("+", atom("a" * 14), atom("b" * 14))
    assert statement("sum_ = ", total, 38) == [f"sum_ = {total.text}"]
    assert statement("sum_ = ", total, 37) == ["sum_ = (", f"    {total.text}", ")"]
    assert statement("sum_ = ", total, 30) == [
        "sum_ = (",
        f"    {'a' * 14}",
        f"    + {'b' * 14}",
        ")",
    ]


@hypothesis.given(strategies.floats(width=32))
def test_a_float32_number_is_read_back_exactly(value):
    number = np.float32(value)
    text = number_text(number)
    found = np.float32(eval(text, {"jnp": jnp}))
    np.testing.assert_array_equal(found, number)
    assert np.signbit(found) == np.signbit(number) or np.isnan(number)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64])
@hypothesis.given(value=strategies.floats(width=16, allow_nan=False))
def test_other_numbers_are_read_back_exactly(dtype, value):
    number = np.asarray(value).astype(dtype)[()]
    text = number_text(number)
    for found in (float(eval(text, {"jnp": jnp})),):
        assert np.asarray(found).astype(dtype) == number
        if np.dtype(dtype).itemsize <= 4:
            assert np.float32(found).astype(dtype) == number


@pytest.mark.parametrize(
    ("number", "dtype", "text"),
    [
        (4294967295, np.uint32, "jnp.uint32(4294967295)"),
        (-1, np.int32, "-1"),
        (True, np.bool_, "True"),
        (0.5 + 2j, np.complex64, "jnp.complex64(complex(0.5, 2.0))"),
        (np.inf, np.float32, "jnp.inf"),
        (-1e9, np.float32, "-1e09"),
        (1 / np.sqrt(8), np.float32, "0.35355338"),
        (np.sqrt(8), np.float32, "2.828427"),
    ],
)
def test_numbers(number, dtype, text):
    assert number_value(number, dtype, ()).expression.text == text
