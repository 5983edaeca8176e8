"""Trees of shapes as Python text: what repeats is folded."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ntkplan.emit.expression import atom, statement
from ntkplan.emit.layout import LINE_WIDTH
from ntkplan.emit.names import free, identifier, key_text
from ntkplan.emit.node_names import short_key
from ntkplan.emit.runs import numbered_runs, repeats
from ntkplan.emit.shape_table import ATTRIBUTES, Attributes, Table
from ntkplan.emit.table_functions import (
    Sizes,
    TableFunction,
    functions_of,
    numbers_of,
    with_sizes,
)

_INDENT = "    "
_LEAST_NAMED = 48
_UNSPLIT = 64
_LONGEST_PLACE = 40
_OFTEN = 2
_BREAK = "\0"
_SOFT = "\1"
_SKIP = "  # fmt: skip"


def table_lines(
    table: Table, name: str, width: int = LINE_WIDTH, *, n_apart: int | None = 1
) -> list[str]:
    r"""Prints a table as the value of a name.

    Subtrees that follow upon each other alike are written once, under a name of their
    own; those that differ in sizes alone are made by a function. A table that would be
    long is packed, and says that formatters leave it so.

    Args:
        table: The table.
        name: The name.
        width: Columns that a line may have.
        n_apart: Empty lines behind functions, or None for no functions.

    Example:
        >>> print("\n".join(table_lines(Table(tree=["f[5]"] * 3, flat=True), "X")))
        X = ["f[5]"] * 3
    """
    tree, functions = with_sizes(table.tree), {}
    if n_apart is not None:
        tree, functions = functions_of(table.tree)
    lines: list[str] = []
    for function in functions.values():
        own = _Printer(frozenset(), functions)
        text = own.own_text(function.body, name.lower())
        lines.append(f"def {function.name}({', '.join(function.parameters)}):")
        for target, value in own.named.items():
            start = f"{_INDENT}{target} ="
            lines += _value_lines(start, value, width, margin=_INDENT)
        lines += [
            *_value_lines(f"{_INDENT}return", text, width, margin=_INDENT),
            *[""] * (n_apart or 0),
        ]
    first = _Printer(frozenset(), functions)
    first.text(tree, name)
    often = {text for text, count in first.counts.items() if count >= _OFTEN}
    printer = _Printer(often, functions)
    text = printer.text(tree, name)
    for target, value in (*printer.named.items(), (name, text)):
        lines += _value_lines(f"{target} =", value, width)
    return lines


def _value_lines(head: str, value: str, width: int, margin: str = "") -> list[str]:
    plain = value.replace(_BREAK, " ").replace(_SOFT, " ")
    one_line = f"{head} {plain}"
    if len(one_line) <= width:
        return [one_line]
    return _packed(head, value, width, margin)


class _Printer:
    """Writes trees on one line, with breaks where it may be split."""

    def __init__(
        self, often: Collection[str], functions: Mapping[Any, TableFunction]
    ) -> None:
        self._functions = functions
        self.named: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self._often = often

    def text(self, node: Any, place: str) -> str:
        """Returns a node's text; `place` is where it stands, for names."""
        function = self._functions.get(numbers_of(node).form)
        text = function.call(node) if function else self.own_text(node, place)
        if len(text) > _UNSPLIT:
            self.counts[text] += 1
        return self._shared(text, place) if text in self._often else text

    def own_text(self, node: Any, place: str) -> str:
        """Returns a node's text, no function being called for the node itself."""
        if isinstance(node, Sizes):
            return node.text
        if isinstance(node, str):
            return f'"{node}"'
        if isinstance(node, tuple):
            return repr(node)
        if isinstance(node, list):
            return self._list(node, place)
        if isinstance(node, Attributes):
            parts = [
                f"{name}={self.text(value, f'{place}/{name}')}"
                for name, value in node.fields
            ]
            return f"{ATTRIBUTES}({_joined(parts)})"
        return self._dictionary(node, place)

    def _list(self, items: Sequence[Any], place: str) -> str:
        parts: list[str] = []
        for index, period, count in repeats(items):
            own = [
                self.text(item, f"{place}/{index + offset}")
                for offset, item in enumerate(items[index : index + period])
            ]
            if count == 1:
                parts += own
                continue
            own = [self._shared(text, f"{place}/{index}") for text in own]
            whole = f"[{_joined(own)}] * {count}"
            if period * count == len(items):
                return whole
            parts.append(f"*{whole}")
        return f"[{_joined(parts)}]"

    def _dictionary(self, node: Mapping[Any, Any], place: str) -> str:
        parts: list[str] = []
        runs = numbered_runs(node)
        covered = {key for keys, *_ in runs.values() for key in keys}
        for key, value in node.items():
            if key in runs:
                keys, pattern, numbers = runs[key]
                place_of_first = f"{place}/{key}"
                text = self._shared(self.text(value, place_of_first), place_of_first)
                run = f"{{{pattern}: {text} for i in {numbers}}}"
                if len(keys) == len(node):
                    return run
                parts.append(f"**{run}")
            elif key not in covered:
                parts.append(f"{key_text(key)}: {self.text(value, f'{place}/{key}')}")
        return f"{{{_joined(parts)}}}"

    def _shared(self, text: str, place: str) -> str:
        """Gives a text that stands several times a name, where it is long."""
        if len(text) < _LEAST_NAMED:
            return text
        for name, known in self.named.items():
            if known == text:
                return name
        name = identifier(_short(place))
        name = free(name.upper() if place[0].isupper() else name, self.named)
        self.named[name] = text
        return name


def _short(place: str) -> str:
    """Returns a place, or where that is long what it begins and what it ends with.

    Example:
        >>> _short("PARAMS/encoder/self_attention/query_projection")
        'PARAMS/query_projection'
    """
    if len(place) <= _LONGEST_PLACE:
        return place
    root, *parts = place.split("/")
    while len(parts) > 1 and not all(part.isdigit() for part in parts[1:]):
        parts = parts[1:]
    return "/".join([root, *map(short_key, parts)])


def _joined(parts: Sequence[str]) -> str:
    """Joins the texts of children; what is short is split only if it must be."""
    whole = f",{_SOFT}".join(part.replace(_BREAK, _SOFT) for part in parts)
    return whole if len(whole) <= _UNSPLIT else f",{_BREAK}".join(parts)


def _packed(head: str, value: str, width: int, margin: str) -> list[str]:
    """Fills lines up; a formatter is told to leave them."""
    lines: list[str] = []
    held = head
    within = f"{margin}{_INDENT}"
    for piece in _pieces(f"{value}{_SKIP}", width, len(held) + 1, len(within)):
        if len(held) + 1 + len(piece) > width and held != head:
            lines.append(held)
            held = f"{within}{piece}"
        else:
            held = f"{held} {piece}"
    lines.append(held)
    if max(map(len, lines)) <= width:
        return lines
    plain = value.replace(_BREAK, " ").replace(_SOFT, " ")
    split = statement(f"{head.strip()} ", atom(plain), width - len(margin))
    return [f"{margin}{line}" for line in split]


def _pieces(value: str, width: int, start: int, margin: int) -> list[str]:
    """Splits a text at its breaks, and at soft ones where a piece is too long.

    The first piece stands at the column `start`, others at `margin`.
    """
    pieces: list[str] = []
    for piece in value.split(_BREAK):
        column = margin if pieces else start
        if column + len(piece) <= width:
            pieces.append(piece.replace(_SOFT, " "))
        else:
            pieces += piece.split(_SOFT)
    return pieces
