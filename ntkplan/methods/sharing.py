"""Statements of several leaves that compute the same array.

A weight and its bias share their cotangents, query and key their activations. What
they contract alike need be computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan.ir.program import (
    Array,
    Contract,
    Cut,
    Match,
    Reduce,
    Scatter,
    Statement,
    Sum,
    Take,
)

Key = tuple[object, ...]
"""Equal for statements that compute the same array, whatever it is called."""


def keys(statements: Sequence[Statement], *, as_first: bool = False) -> tuple[Key, ...]:
    """Returns a key for every statement of one leaf.

    A key holds what is computed from which inputs, down to the arrays that the kernel
    function is given, so that keys of different leaves may be compared.

    Args:
        statements: In order.
        as_first: Whether arrays of the second side count as those of the first.
    """
    known: dict[str, Key] = {}
    found: list[Key] = []
    for statement in statements:
        key = _key(statement, known, as_first)
        known[statement.target.name] = key
        found.append(key)
    return tuple(found)


def _key(statement: Statement, known: Mapping[str, Key], as_first: bool) -> Key:
    letters: dict[str, int] = {}

    def spelled(array: Array) -> tuple[int, ...]:
        return tuple(letters.setdefault(label, len(letters)) for label in array.labels)

    def given(name: str) -> str:
        return f"{name.rpartition(':')[0]}:0" if as_first else name

    def operand(array: Array) -> Key:
        start = known.get(array.name, (given(array.name), array.step))
        return (start, spelled(array))

    match statement:
        case Contract():
            left, right = operand(statement.left), operand(statement.right)
            return ("contract", left, right, spelled(statement.target))
        case Reduce():
            source = operand(statement.source)
            return ("reduce", source, spelled(statement.target))
        case Match():
            left, right = operand(statement.left), operand(statement.right)
            return ("match", left, right, spelled(statement.target))
        case Scatter() | Take():
            kind = type(statement).__name__.lower()
            rows, source = operand(statement.rows), operand(statement.source)
            return (kind, rows, source, spelled(statement.target))
        case Cut():
            return (
                "cut",
                given(statement.source.name),
                statement.patches,
                statement.shape,
            )
        case Sum():
            terms = tuple(operand(term) for term in statement.terms)
            return ("sum", terms, statement.factors, spelled(statement.target))
