"""Formulas of work as text, and back without evaluating what the text says."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any

import sympy

from ntkplan.cost.symbols import SYMBOLS, Size
from ntkplan.cost.work import Operation, OperationKind, Work
from ntkplan.plan_json.records import plain

_SYMBOLS = {symbol.name: symbol for symbol in SYMBOLS}
_FUNCTIONS = {
    name: getattr(sympy, name) for name in ("Add", "Mul", "Pow", "ceiling", "floor")
}
# As they were written: sympy would look for the larger one of two formulas.
_UNEVALUATED = {
    name: functools.partial(getattr(sympy, name), evaluate=False)
    for name in ("Max", "Min")
}
_NUMBERS = {"Integer": sympy.Integer, "Rational": sympy.Rational}


def work_fields(work: Work) -> dict[str, Any]:
    """Returns work as plain values, formulas as text."""
    return {
        "operations": [
            {name: _written(value) for name, value in plain(operation).items()}
            for operation in work.operations
        ],
        "peak_bytes": _written(work.peak_bytes),
        "uncopied_peak_bytes": _written(work.uncopied_peak_bytes),
    }


def work_of(fields: Mapping[str, Any]) -> Work:
    """Returns the work that `work_fields` wrote.

    Raises:
        ValueError: It is none.
    """
    operations = [
        Operation(
            kind=OperationKind(item["kind"]),
            **{name: _read(value) for name, value in item.items() if name != "kind"},
        )
        for item in fields["operations"]
    ]
    return Work(
        operations=tuple(operations),
        peak_bytes=_read(fields["peak_bytes"]),
        uncopied_peak_bytes=_read(fields["uncopied_peak_bytes"]),
    )


def _written(value: Any) -> Any:
    return sympy.srepr(value) if isinstance(value, sympy.Basic) else value


def _read(value: Any) -> Any:
    return size_of(value) if isinstance(value, str) else value


def size_text(size: Size) -> str:
    """Writes a number or a formula as `size_of` reads it."""
    return sympy.srepr(sympy.sympify(size))


def size_of(text: str) -> Size:
    """Reads a formula that `sympy.srepr` wrote.

    Raises:
        ValueError: Something stands in it that stands in no formula of work.

    Example:
        >>> from ntkplan.cost.symbols import n1
        >>> size_of(sympy.srepr(2 * n1 + 1))
        2*n1 + 1
    """
    try:
        return _formula(ast.parse(text, mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"{text[:80]!r} is no formula") from error


def _formula(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name == "Symbol" and isinstance(node.args[0], ast.Constant):
            symbol = _SYMBOLS.get(str(node.args[0].value))
            if symbol is not None:
                return symbol
        elif name in _NUMBERS:
            return _NUMBERS[name](*map(_integer, node.args))
        elif name in {**_FUNCTIONS, **_UNEVALUATED}:
            function = _FUNCTIONS.get(name) or _UNEVALUATED[name]
            return function(*map(_formula, node.args))
    raise ValueError(f"{ast.unparse(node)[:80]!r} is no formula")


def _integer(node: ast.expr) -> int:
    value = ast.literal_eval(node)
    if type(value) is not int:
        raise ValueError(f"{value!r} is no integer")
    return value
