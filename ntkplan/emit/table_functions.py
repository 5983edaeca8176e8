"""Functions for subtrees of a table of shapes that differ in their sizes alone."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ntkplan.emit.names import RESERVED, free, function_name
from ntkplan.emit.shape_table import Attributes

_TEXT = re.compile(r"(.*\[)([0-9n,]+)(\].*)")
_EXAMPLES = "n"
_LETTERS = "abcdefghjkmopqrstuvwxyz"
# Letters that a function must spare, three lines for a definition being two more.
_LEAST_SPARED = 180


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """A shape in a table, of numbers or of what stands for them.

    Attributes:
        before: What stands before the sizes, such as `float32[`.
        sizes: Their Python texts.
        after: What stands behind them.
        quoted: Whether it is a string, not a tuple.
    """

    before: str
    sizes: tuple[str, ...]
    after: str
    quoted: bool

    @property
    def text(self) -> str:
        """Python text."""
        if not self.quoted:
            comma = "," if len(self.sizes) == 1 else ""
            return f"({', '.join(self.sizes)}{comma})"
        known = [size.isdigit() or size == _EXAMPLES for size in self.sizes]
        inside = ",".join(
            size if plain else f"{{{size}}}"
            for size, plain in zip(self.sizes, known, strict=True)
        )
        return f'{"" if all(known) else "f"}"{self.before}{inside}{self.after}"'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a subtree is but for its sizes, and its sizes in order."""

    form: Any
    sizes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFunction:
    """A function that makes subtrees.

    Attributes:
        name: Its name.
        parameters: Names of its parameters.
        places: Which of a subtree's sizes they are.
        body: The subtree that it returns, names in the place of sizes.
    """

    name: str
    parameters: tuple[str, ...]
    places: tuple[int, ...]
    body: Any

    def call(self, node: Any) -> str:
        """Returns Python text for a subtree of the function's form."""
        sizes = numbers_of(node).sizes
        return f"{self.name}({', '.join(sizes[place] for place in self.places)})"


def functions_of(tree: Any) -> tuple[Any, dict[Any, TableFunction]]:
    """Finds what functions spare most.

    Args:
        tree: Dictionaries, lists, `Attributes`, texts of shapes, and tuples of sizes.

    Returns:
        The tree, its shapes as `Sizes`, and the functions by the form of subtrees,
        each after those that it calls.
    """
    tree = with_sizes(tree)
    names = _names(tree)
    functions: dict[Any, TableFunction] = {}
    while True:
        seen: dict[Any, dict[tuple[str, ...], Any]] = {}
        for node, _ in _visible(tree, "", functions):
            own = numbers_of(node)
            seen.setdefault(own.form, {}).setdefault(own.sizes, node)
        best, most = None, _LEAST_SPARED
        for form, nodes in seen.items():
            function = _function(names[form], nodes, functions)
            spared = sum(
                _length(node, functions) - len(function.call(node))
                for node in nodes.values()
            ) - _length(function.body, functions)
            if len(nodes) > 1 and spared >= most:
                best, most = (form, function), spared
        if best is None:
            # Later ones call earlier ones, or make what those are made of.
            order = sorted(functions.items(), key=lambda item: _depth(item[1].body))
            return tree, dict(order)
        functions[best[0]] = best[1]


def _names(tree: Any) -> dict[Any, str]:
    """Names subtrees, by their form, after the places where most of them stand."""
    found: dict[Any, collections.Counter[str]] = {}
    for node, place in _visible(tree, "", {}):
        counter = found.setdefault(numbers_of(node).form, collections.Counter())
        plural = "s" * isinstance(node, list)
        counter[f"{function_name(place)}{plural}_shapes"] += 1
    return {form: names.most_common(1)[0][0] for form, names in found.items()}


def numbers_of(node: Any) -> Numbers:
    """Separates the form of a subtree from its sizes."""
    if isinstance(node, Sizes):
        kept = tuple(size if size == _EXAMPLES else "" for size in node.sizes)
        sizes = tuple(size for size in node.sizes if size != _EXAMPLES)
        return Numbers(form=(node.before, kept, node.after, node.quoted), sizes=sizes)
    children = _children(node)
    if children is None:
        return Numbers(form=repr(node), sizes=())
    own = [(key, numbers_of(child)) for key, child in children]
    return Numbers(
        form=(type(node), tuple((key, child.form) for key, child in own)),
        sizes=tuple(size for _, child in own for size in child.sizes),
    )


def _children(node: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(node, dict):
        return list(node.items())
    if isinstance(node, list):
        return list(enumerate(node))
    return list(node.fields) if isinstance(node, Attributes) else None


def with_sizes(node: Any) -> Any:
    """Returns a tree with its shapes as `Sizes`."""
    if isinstance(node, str):
        found = _TEXT.fullmatch(node)
        if found is None:
            return node
        before, sizes, after = found.groups()
        split = tuple(sizes.split(","))
        return Sizes(before=before, sizes=split, after=after, quoted=True)
    if isinstance(node, tuple):
        if not node or not all(isinstance(size, int) for size in node):
            return node
        sizes = tuple(map(str, node))
        return Sizes(before="", sizes=sizes, after="", quoted=False)
    return _mapped(node, with_sizes)


def _mapped(node: Any, change: Any) -> Any:
    """Returns a node with its children changed."""
    if isinstance(node, dict):
        return {key: change(child) for key, child in node.items()}
    if isinstance(node, list):
        return [change(child) for child in node]
    if isinstance(node, Attributes):
        return Attributes(fields=tuple((key, change(x)) for key, x in node.fields))
    return node


def _replaced(node: Any, sizes: Iterator[str]) -> Any:
    """Returns a tree with other texts for its sizes, in order."""
    if isinstance(node, Sizes):
        own = tuple(x if x == _EXAMPLES else next(sizes) for x in node.sizes)
        return dataclasses.replace(node, sizes=own)
    return _mapped(node, lambda child: _replaced(child, sizes))


def _visible(
    node: Any, place: str, functions: Mapping[Any, TableFunction]
) -> Iterator[tuple[Any, str]]:
    """Yields the subtrees that are printed, with their places."""
    for key, child in _children(node) or ():
        own = f"{place}/{key}"
        if _children(child) is None or numbers_of(child).form in functions:
            continue
        yield child, own
        yield from _visible(child, own, functions)
    if not place:
        for function in functions.values():
            yield from _visible(function.body, function.name, functions)


def _function(
    name: str,
    nodes: Mapping[tuple[str, ...], Any],
    functions: Mapping[Any, TableFunction],
) -> TableFunction:
    """Makes the function for subtrees of one form; sizes that always agree are one."""
    letters: dict[tuple[str, ...], str] = {}
    places: list[int] = []
    texts: list[str] = []
    for place, column in enumerate(zip(*nodes, strict=True)):
        if len(set(column)) == 1 and column[0].isdigit():
            texts.append(column[0])
            continue
        if column not in letters:
            number = len(letters)
            spare = f"{_LETTERS[number % len(_LETTERS)]}{number // len(_LETTERS)}"
            letters[column] = spare.removesuffix("0")
            places.append(place)
        texts.append(letters[column])
    node = next(iter(nodes.values()))
    taken = {*RESERVED, *(function.name for function in functions.values())}
    return TableFunction(
        name=free(name, taken),
        parameters=tuple(letters.values()),
        places=tuple(places),
        body=_replaced(node, iter(texts)),
    )


def _length(node: Any, functions: Mapping[Any, TableFunction]) -> int:
    """Returns about how long a subtree's text is."""
    function = functions.get(numbers_of(node).form)
    if function is not None:
        return len(function.call(node))
    children: Sequence[tuple[Any, Any]] | None = _children(node)
    if children is None:
        return len(node.text if isinstance(node, Sizes) else repr(node))
    keys = 0 if isinstance(node, list) else sum(len(str(k)) + 4 for k, _ in children)
    return keys + sum(2 + _length(child, functions) for _, child in children)


def _depth(node: Any) -> int:
    return 1 + max((_depth(child) for _, child in _children(node) or ()), default=0)
