"""Statements of several leaves that compute the same array.

A weight and its bias share their cotangents, query and key their activations. What
they contract alike need be computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan.ir.statements import (
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


class Key:
    """Equal for statements that compute the same array, whatever it is called.

    Attributes:
        form: What is computed, down to the arrays that the kernel function is given;
            these stand as their positions in `inputs`.
        inputs: Names of those arrays, in the order in which they are first read.
    """

    __slots__ = ("_hash", "form", "inputs")

    def __init__(self, form: Form, inputs: tuple[str, ...]) -> None:
        self.form = form
        self.inputs = inputs
        self._hash = hash((form, inputs))

    def __hash__(self) -> int:
        """Returns a hash that is computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Compares forms and inputs."""
        return (
            isinstance(other, Key)
            and self._hash == other._hash
            and self.inputs == other.inputs
            and self.form == other.form
        )

    def renamed(self, names: Mapping[str, str]) -> Key:
        """Returns the key of the same statement over other arrays."""
        return Key(self.form, tuple(names.get(name, name) for name in self.inputs))


class Form:
    """Nested tuples that are hashed once."""

    __slots__ = ("_hash", "parts")

    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self._hash = hash(parts)

    def __hash__(self) -> int:
        """Returns a hash that is computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Compares the parts."""
        return (
            isinstance(other, Form)
            and self._hash == other._hash
            and self.parts == other.parts
        )


def keys(statements: Sequence[Statement], *, as_first: bool = False) -> tuple[Key, ...]:
    """Returns a key for every statement of one leaf.

    A key holds what is computed from which inputs, so that keys of different leaves may
    be compared.

    Args:
        statements: In order.
        as_first: Whether arrays of the second side count as those of the first.
    """
    known: dict[str, Key] = {}
    found: list[Key] = []
    for statement in statements:
        key = _Speller(known, as_first).key(statement)
        known[statement.target.name] = key
        found.append(key)
    return tuple(found)


class _Speller:
    """Spells one statement, its labels and inputs numbered as they come."""

    def __init__(self, known: Mapping[str, Key], as_first: bool) -> None:
        self._known, self._as_first = known, as_first
        self._letters: dict[str, int] = {}
        self._inputs: dict[str, int] = {}

    def key(self, statement: Statement) -> Key:
        """Returns the statement's key."""
        form = self._form(statement)
        return Key(form, tuple(self._inputs))

    def _form(self, statement: Statement) -> Form:
        kind = type(statement).__name__
        target = statement.target
        match statement:
            case Contract() | Match():
                left, right = self._read(statement.left), self._read(statement.right)
                return Form(kind, *left, *right, self._spelled(target))
            case Scatter() | Take():
                rows, source = self._read(statement.rows), self._read(statement.source)
                return Form(kind, *rows, *source, self._spelled(target))
            case Reduce():
                return Form(kind, *self._read(statement.source), self._spelled(target))
            case Cut():
                source = self._numbers((self._given(statement.source.name),))
                own = (statement.patches, statement.shape, statement.bias_scale)
                return Form(kind, source, *own)
            case Sum():
                terms = tuple(self._read(term) for term in statement.terms)
                return Form(kind, terms, statement.factors, self._spelled(target))

    def _spelled(self, array: Array) -> tuple[int, ...]:
        letters = self._letters
        return tuple(letters.setdefault(label, len(letters)) for label in array.labels)

    def _read(self, array: Array) -> tuple[object, ...]:
        known = self._known.get(array.name)
        if known is None:
            numbers = self._numbers((self._given(array.name),))
            return (array.step, numbers, self._spelled(array))
        return (known.form, self._numbers(known.inputs), self._spelled(array))

    def _numbers(self, names: Sequence[str]) -> tuple[int, ...]:
        inputs = self._inputs
        return tuple(inputs.setdefault(name, len(inputs)) for name in names)

    def _given(self, name: str) -> str:
        return f"{name.rpartition(':')[0]}:0" if self._as_first else name


def renamed(statement: Statement, names: Mapping[str, str]) -> Statement:
    """Returns a statement whose arrays have other names.

    Args:
        statement: Any statement.
        names: New names by old ones; what is not in it keeps its name.
    """
    return statement.over(lambda array: renamed_array(array, names))


def renamed_array(array: Array, names: Mapping[str, str]) -> Array:
    """Returns an array under its new name, where it has one."""
    new = names.get(array.name)
    if new is None:
        return array
    return Array(name=new, labels=array.labels, hot=array.hot, step=array.step)
