"""Nodes of trees that stand for types of the user's, which another process lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, keystr

Key = DictKey | FlattenedIndexKey | GetAttrKey | SequenceKey


class StandIn:
    """A node that holds what another held, under the same keys.

    Its children are read as those of the other were: by attribute, key or position.
    Fields of the other may be called as they like: all that is this class's own has
    two underscores before its name.

    Args:
        kind: Name of the other's type.
        keys: Keys of its children.
        children: Its children.
    """

    def __init__(self, kind: str, keys: Sequence[Key], children: Sequence[Any]) -> None:
        self.__kind, self.__keys, self.__children = kind, tuple(keys), tuple(children)

    def __getattr__(self, name: str) -> Any:
        """Returns the child of a field."""
        if GetAttrKey(name) not in self.__dict__.get("_StandIn__keys", ()):
            raise AttributeError(f"{self.__kind} has nothing at .{name}")
        return self.__children[self.__keys.index(GetAttrKey(name))]

    def __getitem__(self, name: Any) -> Any:
        """Returns the child of a key or at a position."""
        for key in (DictKey(name), SequenceKey(name)):
            if key in self.__keys:
                return self.__children[self.__keys.index(key)]
        raise KeyError(name)

    def __repr__(self) -> str:
        """Returns `Linear(.weight=..., .bias=...)`."""
        pairs = zip(self.__keys, self.__children, strict=True)
        items = (f"{keystr((key,))}={child!r}" for key, child in pairs)
        return f"{self.__kind}({', '.join(items)})"

    def __parts__(self) -> tuple[str, tuple[Key, ...], tuple[Any, ...]]:
        """Returns the type's name, the keys and the children."""
        return self.__kind, self.__keys, self.__children


def _flatten_with_keys(node: StandIn) -> tuple[tuple[tuple[Key, Any], ...], Any]:
    kind, keys, children = node.__parts__()
    return tuple(zip(keys, children, strict=True)), (kind, keys)


def _unflatten(aside: tuple[str, tuple[Key, ...]], children: Iterable[Any]) -> StandIn:
    return StandIn(*aside, tuple(children))


jax.tree_util.register_pytree_with_keys(StandIn, _flatten_with_keys, _unflatten)


def stand_in_for(node: Any) -> StandIn | None:
    """Returns what stands for a node of a tree, or None for a leaf.

    Args:
        node: A node of any type that JAX knows, itself or a stand-in.

    Example:
        >>> import collections
        >>> stand_in_for(collections.OrderedDict(a=1))
        OrderedDict(['a']=1)
    """
    if isinstance(node, StandIn):
        return node
    found, _ = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda item: item is not node
    )
    if any(not keys for keys, _ in found):
        return None
    return StandIn(
        type(node).__name__, [keys[0] for keys, _ in found], [item for _, item in found]
    )


def has_stand_ins(tree: Any) -> bool:
    """Says whether some node of a tree stands for another."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda item: isinstance(item, StandIn))
    return any(isinstance(node, StandIn) for node in nodes)
