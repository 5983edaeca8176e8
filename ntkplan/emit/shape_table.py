"""Trees of shapes as Python literals, and in words: what repeats is folded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax

from ntkplan.emit.nested_params import nested_places
from ntkplan.emit.runs import numbered_runs, repeats
from ntkplan.trace.leaves import shape_of, tree_inputs

FIXED = "fixed"
"""Marks leaves that are not differentiated."""

ATTRIBUTES = "Fields"
"""The emitted class that stands for types of the user's, read by attributes."""

_DEEPEST = 12


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
        nested: Whether it is what `nested` makes of the tree.
    """

    tree: Any
    flat: bool
    nested: bool = False

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
    nests: bool = False,
) -> Table:
    """Describes the arrays of a tree.

    Args:
        tree: Arrays or `jax.ShapeDtypeStruct`s.
        batch_axis: The axis that counts examples, written `n`, or None.
        fixed: Paths of leaves that are not differentiated.
        summed: For every output, paths of leaves for which sum of logits stands in.
        nests: Whether a tree that no text reads is put into dictionaries.

    Example:
        >>> spec = jax.ShapeDtypeStruct((4, 3), "float32")
        >>> shape_table({"a": [spec]}, batch_axis=0).tree
        {'a': ['float32[n,3]']}
    """
    inputs = tree_inputs(tree)
    texts = []
    for item in inputs:
        words = [shape_text(shape_of(item.value), batch_axis)]
        words += [FIXED] * (item.path in fixed)
        words += [
            summed_mark(i) for i, paths in enumerate(summed) if item.path in paths
        ]
        texts.append(" ".join(words))
    places = _nested_keys(tree) if nests else None
    if places is None and any(item.access is None for item in inputs):
        return Table(tree=texts, flat=True)
    keys = places or _keys(tree)
    table = _nested(list(zip(keys, texts, strict=True)))
    return Table(tree=table, flat=False, nested=places is not None)


def _keys(tree: Any) -> list[tuple[Any, ...]]:
    return [keys for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _nested_keys(tree: Any) -> list[tuple[Any, ...]] | None:
    """Returns the keys of leaves in the dictionaries that the module makes, if so."""
    places = nested_places(tree)
    if places is None:
        return None
    return [tuple(map(jax.tree_util.DictKey, place)) for place in places]


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
    leaves = map(shape_of, jax.tree.leaves(tree))
    shapes = ["x".join(map(str, leaf.shape)) or "scalar" for leaf in leaves]
    keys = _nested_keys(tree) or _keys(tree)
    nested = _nested(list(zip(keys, shapes, strict=True)))
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
