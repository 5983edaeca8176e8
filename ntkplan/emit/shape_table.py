"""Trees of shapes as Python literals, and in words: what repeats is folded."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax

from ntkplan.emit.expression import atom, statement
from ntkplan.emit.names import free, identifier
from ntkplan.emit.numbering import LEAST, range_text
from ntkplan.trace.leaves import shape_of, tree_inputs

FIXED = "fixed"
"""Marks leaves that are not differentiated."""

ATTRIBUTES = "Fields"
"""The emitted class that stands for types of the user's, read by attributes."""

_INDENT = "    "
_WIDTH = 88
_DEEPEST = 12
_LEAST_NAMED = 40
_UNSPLIT = 64
_OFTEN = 2
_BREAK = "\0"
_SOFT = "\1"
_SKIP = "  # fmt: skip"
_NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attributes:
    """A node of a tree whose children are read by attributes."""

    fields: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A tree of texts such as `float32[5,7]`, as the emitted module writes it.

    Attributes:
        tree: Dictionaries, lists, `Attributes` and texts. A single text is a tree.
        flat: Whether it is the list of leaves instead, since the places of the leaves
            cannot be written in Python.
    """

    tree: Any
    flat: bool

    @property
    def has_attributes(self) -> bool:
        """Whether some node is read by attributes."""
        return _any(self.tree, lambda node: isinstance(node, Attributes))

    @property
    def texts(self) -> list[str]:
        """All texts."""
        found: list[str] = []
        _any(self.tree, lambda node: isinstance(node, str) and found.append(node))
        return found


def _any(node: Any, holds: Callable[[Any], Any]) -> bool:
    if holds(node):
        return True
    children: Sequence[Any] = ()
    if isinstance(node, dict):
        children = list(node.values())
    elif isinstance(node, list):
        children = node
    elif isinstance(node, Attributes):
        children = [value for _, value in node.fields]
    return any(_any(child, holds) for child in children)


def shape_table(
    tree: Any,
    *,
    batch_axis: int | None = None,
    fixed: Collection[str] = (),
    summed: Sequence[Collection[str]] = (),
) -> Table:
    """Describes the arrays of a tree.

    Args:
        tree: Arrays or `jax.ShapeDtypeStruct`s.
        batch_axis: The axis that counts examples, written `n`, or None.
        fixed: Paths of leaves that are not differentiated.
        summed: For every output, paths of leaves for which sum of logits stands in.

    Example:
        >>> spec = jax.ShapeDtypeStruct((4, 3), "float32")
        >>> shape_table({"a": [spec]}, batch_axis=0).tree
        {'a': ['float32[n,3]']}
    """
    inputs = tree_inputs(tree)
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    texts = []
    for item in inputs:
        words = [shape_text(shape_of(item.value), batch_axis)]
        words += [FIXED] * (item.path in fixed)
        words += [
            summed_mark(i) for i, paths in enumerate(summed) if item.path in paths
        ]
        texts.append(" ".join(words))
    if any(item.access is None for item in inputs):
        return Table(tree=texts, flat=True)
    places = [keys for keys, _ in flat]
    return Table(tree=_nested(list(zip(places, texts, strict=True))), flat=False)


def summed_mark(output: int) -> str:
    """Marks leaves for which sum of logits stands in, in one output of several."""
    return f"summed{output or ''}"


def shape_text(spec: Any, batch_axis: int | None) -> str:
    """Returns dtype and shape as `float32[n,3]`."""
    sizes = [str(size) for size in spec.shape]
    if batch_axis is not None:
        sizes[batch_axis] = "n"
    return f"{spec.dtype}[{','.join(sizes)}]"


def _nested(leaves: Sequence[tuple[tuple[Any, ...], str]]) -> Any:
    """Builds a tree from the places of its leaves."""
    if not leaves[0][0]:
        return leaves[0][1]
    groups: dict[Any, list[tuple[tuple[Any, ...], str]]] = {}
    for keys, text in leaves:
        groups.setdefault(keys[0], []).append((keys[1:], text))
    nodes = {key: _nested(group) for key, group in groups.items()}
    first = next(iter(nodes))
    if isinstance(first, jax.tree_util.SequenceKey):
        by_index = {key.idx: node for key, node in nodes.items()}
        # What holds no leaves has no place: an empty tuple stands there.
        return [by_index.get(index, ()) for index in range(max(by_index) + 1)]
    if isinstance(first, jax.tree_util.GetAttrKey):
        fields = tuple((key.name, node) for key, node in nodes.items())
        return Attributes(fields=fields)
    return {key.key: node for key, node in nodes.items()}


def table_lines(table: Table, name: str, width: int = _WIDTH) -> list[str]:
    r"""Prints a table as the value of a name.

    Subtrees that follow upon each other alike are written once, under a name of their
    own. A table that would be long is packed, and says that formatters leave it so.

    Example:
        >>> print("\n".join(table_lines(Table(tree=["f[5]"] * 3, flat=True), "X")))
        X = ["f[5]"] * 3
    """
    first = _Printer(frozenset())
    first.text(table.tree, name)
    often = {text for text, count in first.counts.items() if count >= _OFTEN}
    printer = _Printer(often)
    text = printer.text(table.tree, name)
    statements = [*printer.named.items(), (name, text)]
    lines: list[str] = []
    for target, value in statements:
        plain = value.replace(_BREAK, " ").replace(_SOFT, " ")
        one_line = f"{target} = {plain}"
        if len(one_line) <= width:
            lines.append(one_line)
        else:
            lines += _packed(target, value, width)
    return lines


class _Printer:
    """Writes trees on one line, with breaks where it may be split."""

    def __init__(self, often: Collection[str]) -> None:
        self.named: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self._often = often

    def text(self, node: Any, place: str) -> str:
        """Returns a node's text; `place` is where it stands, for names."""
        text = self._own_text(node, place)
        if len(text) > _UNSPLIT:
            self.counts[text] += 1
        return self._shared(text, place) if text in self._often else text

    def _own_text(self, node: Any, place: str) -> str:
        if isinstance(node, str):
            return f'"{node}"'
        if isinstance(node, tuple):
            return repr(node)
        if isinstance(node, list):
            return self._list(node, place)
        if isinstance(node, Attributes):
            parts = [
                f"{name}={self.text(value, f'{place}_{name}')}"
                for name, value in node.fields
            ]
            return f"{ATTRIBUTES}({_joined(parts)})"
        return self._dictionary(node, place)

    def _list(self, items: Sequence[Any], place: str) -> str:
        parts: list[str] = []
        for index, period, count in repeats(items):
            own = [
                self.text(item, f"{place}_{index + offset}")
                for offset, item in enumerate(items[index : index + period])
            ]
            if count == 1:
                parts += own
                continue
            own = [self._shared(text, f"{place}_{index}") for text in own]
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
                _, pattern, numbers = runs[key]
                place_of_first = f"{place}_{key}"
                text = self._shared(self.text(value, place_of_first), place_of_first)
                parts.append(f"**{{{pattern}: {text} for i in {numbers}}}")
            elif key not in covered:
                parts.append(f"{_key(key)}: {self.text(value, f'{place}_{key}')}")
        return f"{{{_joined(parts)}}}"

    def _shared(self, text: str, place: str) -> str:
        """Gives a text that stands several times a name, where it is long."""
        if len(text) < _LEAST_NAMED:
            return text
        for name, known in self.named.items():
            if known == text:
                return name
        name = identifier(place)
        name = free(name.upper() if place[0].isupper() else name, self.named)
        self.named[name] = text
        return name


def _joined(parts: Sequence[str]) -> str:
    """Joins the texts of children; what is short is split only if it must be."""
    whole = f",{_SOFT}".join(part.replace(_BREAK, _SOFT) for part in parts)
    return whole if len(whole) <= _UNSPLIT else f",{_BREAK}".join(parts)


def _key(key: Any) -> str:
    text = repr(key)
    return text.replace("'", '"') if isinstance(key, str) and '"' not in key else text


def repeats(items: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Finds what follows upon itself: `(start, period, count)` of all parts, in order.

    Example:
        >>> repeats(["a", "b", "c", "b", "c", "d", "d"])
        [(0, 1, 1), (1, 2, 2), (5, 1, 2)]
    """
    found: list[tuple[int, int, int]] = []
    start = 0
    while start < len(items):
        best = (1, 1)
        for period in range(1, (len(items) - start) // 2 + 1):
            pattern = items[start : start + period]
            count = 1
            while items[start + count * period :][:period] == pattern:
                count += 1
            if count > 1 and period * count > best[0] * best[1]:
                best = (period, count)
        period, count = best
        found.append((start, period, count))
        start += period * count
    return found


def numbered_runs(
    node: Mapping[Any, Any],
) -> dict[str, tuple[tuple[str, ...], str, str]]:
    """Finds keys that count from a number on, with values alike.

    Returns:
        By the first key of each run all of its keys, and Python texts: of the key, a
        format string in `i`, and of the range of `i`.

    Example:
        >>> numbered_runs({"h0": 1, "h1": 1, "h2": 1, "w": 2})
        {'h0': (('h0', 'h1', 'h2'), 'f"h{i}"', 'range(3)')}
    """
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for key in node:
        match = _NUMBERED.fullmatch(key) if isinstance(key, str) else None
        braces = isinstance(key, str) and any(letter in key for letter in '{}"\\')
        if match and str(int(match[2])) == match[2] and not braces:
            groups.setdefault((match[1], match[3]), []).append((int(match[2]), key))
    found: dict[str, tuple[tuple[str, ...], str, str]] = {}
    for (before, after), members in groups.items():
        members.sort()
        values = [node[key] for _, key in members]
        for start, period, count in repeats(values):
            numbers = [number for number, _ in members[start : start + count]]
            first, last = numbers[0], numbers[-1]
            if period > 1 or count < LEAST or last - first + 1 != count:
                continue
            keys = tuple(key for _, key in members[start : start + count])
            name = f'f"{before}{{i}}{after}"'
            found[keys[0]] = (keys, name, range_text(first, count))
    return found


def _packed(target: str, value: str, width: int) -> list[str]:
    """Fills lines up; a formatter is told to leave them."""
    lines: list[str] = []
    held = f"{target} ="
    for piece in _pieces(f"{value}{_SKIP}", width, start=len(held) + 1):
        if len(held) + 1 + len(piece) > width and held != f"{target} =":
            lines.append(held)
            held = f"{_INDENT}{piece}"
        else:
            held = f"{held} {piece}"
    lines.append(held)
    if max(map(len, lines)) <= width:
        return lines
    plain = value.replace(_BREAK, " ").replace(_SOFT, " ")
    return statement(f"{target} = ", atom(plain), width)


def _pieces(value: str, width: int, start: int) -> list[str]:
    """Splits a text at its breaks, and at soft ones where a piece is too long.

    The first piece stands at the column `start`.
    """
    pieces: list[str] = []
    for piece in value.split(_BREAK):
        column = len(_INDENT) if pieces else start
        if column + len(piece) <= width:
            pieces.append(piece.replace(_SOFT, " "))
        else:
            pieces += piece.split(_SOFT)
    return pieces


def short_text(tree: Any, most: int) -> str:
    """Describes a tree of shapes in words, as deep as so many letters allow.

    Args:
        tree: Arrays or `jax.ShapeDtypeStruct`s.
        most: Letters.

    Example:
        >>> spec = jax.ShapeDtypeStruct((5, 7), "float32")
        >>> short_text({"layers": [{"w": spec}] * 3}, 88)
        '{layers: 3 x {w: 5x7}}'
    """
    keyed = jax.tree_util.tree_flatten_with_path(tree)[0]
    shapes = ["x".join(map(str, shape_of(leaf).shape)) or "scalar" for _, leaf in keyed]
    places = [keys for keys, _ in keyed]
    nested = _nested(list(zip(places, shapes, strict=True)))
    for depth in range(_DEEPEST, 0, -1):
        text = _short(nested, depth)
        if len(text) <= most:
            return text
    return _short(nested, 0)


def _short(node: Any, depth: int) -> str:
    if isinstance(node, str):
        return node
    if node == ():
        return "()"
    if depth == 0:
        count = len(Table(tree=node, flat=False).texts)
        return "1 leaf" if count == 1 else f"{count} leaves"
    if isinstance(node, list):
        parts = []
        for start, period, count in repeats(node):
            own = [_short(item, depth - 1) for item in node[start : start + period]]
            text = own[0] if period == 1 else f"({', '.join(own)})"
            parts.append(text if count == 1 else f"{count} x {text}")
        return f"[{', '.join(parts)}]" if len(parts) > 1 or len(node) == 1 else parts[0]
    if isinstance(node, Attributes):
        items = node.fields
    else:
        runs = numbered_runs(node)
        later = {key for keys, *_ in runs.values() for key in keys[1:]}
        names = {key: f"{keys[0]}..{keys[-1]}" for key, (keys, *_) in runs.items()}
        items = [
            (names.get(key, key), value)
            for key, value in node.items()
            if key not in later
        ]
    return (
        f"{{{', '.join(f'{key}: {_short(value, depth - 1)}' for key, value in items)}}}"
    )
