"""Long statements are split as the formatter splits them."""

from __future__ import annotations

import ast
import random
import subprocess
from pathlib import Path

import pytest

from ntkplan.emit import layout
from ntkplan.emit.expression import (
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
from tests.emit.formatter import ruff

_NAMES = (
    "x",
    "w0",
    "block_out",
    "embedding_act",
    "long_parameter_name_of_a_layer",
    "taps_of_this_layer",
)
_PREFIXES = ("h0 = ", "return_value = ", "theta += ")


def _random_expression(choose: random.Random, depth: int) -> Expression:
    kinds = ["name", *(["sum", "product", "call", "call"] * (depth > 0))]
    kinds += ["index", "method", "methods", "minus", "tuple"] * (depth > 0)
    kinds += ["conditional"] * (depth > 1)

    def inner() -> Expression:
        return _random_expression(choose, depth - 1)

    match choose.choice(kinds):
        case "sum":
            return binary(choose.choice("+-"), inner(), inner())
        case "product":
            return binary(choose.choice("*/@"), inner(), inner())
        case "call":
            operands = [inner() for _ in range(choose.randint(1, 3))]
            keywords = {"axis": "-1"} if choose.random() < 0.5 else {}
            return call(choose.choice(("jnp.mean", "f")), *operands, **keywords)
        case "index":
            items = choose.choice((("None",), (":", "0"), ('"key_of_something"',)))
            return subscript(inner(), *items)
        case "method":
            return method(atom(choose.choice(_NAMES)), "reshape", "1", "-1")
        case "methods":
            value = subscript(inner(), ":", "0")
            for name in ("reshape", "astype")[: choose.randint(1, 2)]:
                value = method(value, name, *map(str, range(choose.randint(1, 9))))
            return subscript(value, "0") if choose.random() < 0.3 else value
        case "conditional":
            parts = " if x is None else ".join(f"{inner()}" for _ in range(2))
            return call("f", atom(parts))
        case "minus":
            return prefixed("-", inner())
        case "tuple":
            return sequence([inner(), inner()])
    name = atom(choose.choice(_NAMES))
    return attribute(name, "T") if choose.random() < 0.1 else name


def test_random_statements_are_stable_under_the_formatter(tmp_path: Path):
    choose = random.Random(7)
    lines: list[str] = []
    n_split = 0
    for _ in range(1500):
        value = _random_expression(choose, choose.randint(2, 3))
        if choose.random() < 0.1:
            value = atom(f"{value} if x is None else {value}")
        made = statement(choose.choice(_PREFIXES), value, 88)
        n_split += len(made) > 1
        lines += made
    assert n_split > 300
    module = tmp_path / "statements.py"
    module.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [ruff(), "format", "--isolated", "--diff", str(module)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        (
            "(first - f(second, third)) * fourth",
            34,
            ["y = (", "    first - f(second, third)", ") * fourth"],
        ),
        (
            "first + table['key'].reshape(4, 2)",
            34,
            ["y = first + table['key'].reshape(", "    4, 2", ")"],
        ),
        (
            "{'first': f(a), 'second': b}",
            24,
            ["y = {", "    'first': f(a),", "    'second': b,", "}"],
        ),
        (
            "lambda shifts: function(params, shifts)",
            30,
            ["y = lambda shifts: function(", "    params, shifts", ")"],
        ),
        (
            "{f'key_{i}': value for i in range(3)}",
            30,
            ["y = {", "    f'key_{i}': value", "    for i in range(3)", "}"],
        ),
        (
            "{f'key_{i}': value for i in range(3)}",
            40,
            ["y = {", "    f'key_{i}': value for i in range(3)", "}"],
        ),
        ("first[second]", 12, ["y = first[", "    second", "]"]),
        ("-(first @ second)", 18, ["y = -(", "    first @ second", ")"]),
    ],
)
def test_where_a_line_is_split(text, width, lines):
    assert layout.split("y = ", text, width) == lines


def test_what_is_no_expression_is_left_to_the_caller():
    assert layout.split("def ", "f(a, b):", 4) is None


def test_entries_without_a_key_are_kept():
    text = '{"first": 1, **{f"layer_{i}": SHAPES for i in range(3)}, "last": [1, 2, 3]}'
    lines = layout.split("X = ", text, 40)
    assert lines is not None
    assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(f"X = {text}"))
