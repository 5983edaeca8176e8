"""Trees of dictionaries, lists and tuples as JSON can hold them, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def tree_to_json(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """Returns a tree as plain values, by which it is the same tree again.

    Args:
        tree: Dictionaries with keys of text or whole numbers, lists and tuples, of no
            types derived from these.
        leaf: Writes all else, or raises where that is nothing to be written. What it
            returns is no dictionary of one of the keys `dict`, `list` and `tuple`.

    Example:
        >>> tree_to_json({"a": (1, [2])}, str)
        {'dict': [['a', {'tuple': ['1', {'list': ['2']}]}]]}
    """
    if type(tree) is dict and all(type(key) in (str, int) for key in tree):
        return {"dict": [[key, tree_to_json(node, leaf)] for key, node in tree.items()]}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [tree_to_json(node, leaf) for node in tree]}
    return leaf(tree)


def tree_from_json(written: Any, leaf: Callable[[Any], Any]) -> Any:
    """Returns the tree that `tree_to_json` wrote.

    Args:
        written: What it returned.
        leaf: Reads what the other function's `leaf` wrote.

    Example:
        >>> tree_from_json({"dict": [["a", {"tuple": ["1", {"list": ["2"]}]}]]}, int)
        {'a': (1, [2])}
    """
    if isinstance(written, dict) and len(written) == 1:
        ((kind, nodes),) = written.items()
        if kind == "dict":
            return {key: tree_from_json(node, leaf) for key, node in nodes}
        if kind in ("list", "tuple"):
            read = [tree_from_json(node, leaf) for node in nodes]
            return tuple(read) if kind == "tuple" else read
    return leaf(written)
