"""Trees of shapes as plain values that JSON can hold, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

from ntkplan.errors import UnwritablePlanError
from ntkplan.json_trees import tree_from_json, tree_to_json
from ntkplan.stand_ins import StandIn, stand_in_for

_KEYS: dict[str, tuple[Any, str]] = {
    "attribute": (GetAttrKey, "name"),
    "key": (DictKey, "key"),
    "number": (FlattenedIndexKey, "key"),
    "position": (SequenceKey, "idx"),
}


def tree_fields(tree: Any, name: str) -> Any:
    """Returns a tree of shapes as plain values.

    Nodes of other types than dict, list, tuple and None are written as what stands for
    them, with their keys.

    Args:
        tree: `jax.ShapeDtypeStruct`s in nodes of any type.
        name: What the tree is called, for the error.

    Raises:
        UnwritablePlanError: There are random keys in it, or nodes without keys that
            JSON can hold.
    """

    def written(node: Any) -> Any:
        if node is None:
            return None
        if not isinstance(node, jax.ShapeDtypeStruct):
            stand_in = stand_in_for(node)
            if stand_in is None:
                raise _unwritable(f"{name} holds a {type(node).__name__}")
            kind, keys, children = stand_in.__parts__()
            return {
                "node": kind,
                "keys": [_written_key(key, name) for key in keys],
                "children": [tree_to_json(item, written) for item in children],
            }
        if jax.numpy.issubdtype(node.dtype, jax.dtypes.extended):
            raise _unwritable(f"{name} holds an array of {node.dtype}")
        return {"shape": list(node.shape), "dtype": str(node.dtype)}

    return tree_to_json(tree, written)


def _written_key(key: Any, name: str) -> list[Any]:
    for word, (kind, field) in _KEYS.items():
        if type(key) is kind and isinstance(getattr(key, field), str | int):
            return [word, getattr(key, field)]
    raise _unwritable(f"{name} has a node at {key!r}")


def _unwritable(what: str) -> UnwritablePlanError:
    return UnwritablePlanError(
        what=f"{what}, which is not the same again in another process",
        hint="Plan with such a tree (jax.tree.flatten gives one), or keep the kernel "
        "with plan.save",
    )


def tree_of(fields: Any) -> Any:
    """Returns the tree that `tree_fields` wrote.

    Raises:
        ValueError: It is none.
    """

    def read(node: Any) -> Any:
        if node is None:
            return None
        if isinstance(node, dict) and set(node) == {"node", "keys", "children"}:
            keys = [_KEYS[word][0](value) for word, value in node["keys"]]
            children = [tree_from_json(item, read) for item in node["children"]]
            return StandIn(node["node"], keys, children)
        if not isinstance(node, dict) or set(node) != {"shape", "dtype"}:
            raise ValueError("a tree is written in another way")
        dtype = numpy.dtype(jax.numpy.dtype(node["dtype"]))
        return jax.ShapeDtypeStruct(tuple(node["shape"]), dtype)

    return tree_from_json(fields, read)


def structure_fields(structure: Any, name: str) -> Any:
    """Returns the structure of a tree, a `PyTreeDef`, as plain values.

    Raises:
        UnwritablePlanError: There are nodes of other types than dict, list, tuple and
            None in it, which a kernel could not return.
    """
    spec = jax.ShapeDtypeStruct((), "float32")
    tree = structure.unflatten([spec] * structure.num_leaves)

    def refused(node: Any) -> Any:
        if node is not None and not isinstance(node, jax.ShapeDtypeStruct):
            kind = type(node).__name__
            raise _unwritable(f"{name} is a tree with nodes of type {kind}")

    tree_to_json(tree, refused)
    return tree_fields(tree, name)


def structure_of(fields: Any) -> Any:
    """Returns the structure that `structure_fields` wrote."""
    return jax.tree.structure(tree_of(fields))
