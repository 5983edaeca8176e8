"""Trees of shapes as plain values that JSON can hold, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy

from ntkplan.errors import UnwritablePlanError
from ntkplan.json_trees import tree_from_json, tree_to_json


def tree_fields(tree: Any, name: str) -> Any:
    """Returns a tree of shapes as plain values.

    Args:
        tree: `jax.ShapeDtypeStruct`s in dictionaries, lists, tuples and None.
        name: What the tree is called, for the error.

    Raises:
        UnwritablePlanError: There are nodes of other types, or random keys, in it.
    """

    def written(node: Any) -> Any:
        if node is None:
            return None
        if not isinstance(node, jax.ShapeDtypeStruct):
            kind = type(node).__name__
            raise _unwritable(f"{name} is a tree with nodes of type {kind}")
        if jax.numpy.issubdtype(node.dtype, jax.dtypes.extended):
            raise _unwritable(f"{name} holds an array of {node.dtype}")
        return {"shape": list(node.shape), "dtype": str(node.dtype)}

    return tree_to_json(tree, written)


def _unwritable(what: str) -> UnwritablePlanError:
    return UnwritablePlanError(
        what=f"{what}, and only arrays in dict, list, tuple and None are the same tree "
        "again in another process",
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
        if not isinstance(node, dict) or set(node) != {"shape", "dtype"}:
            raise ValueError("a tree is written in another way")
        dtype = numpy.dtype(jax.numpy.dtype(node["dtype"]))
        return jax.ShapeDtypeStruct(tuple(node["shape"]), dtype)

    return tree_from_json(fields, read)


def structure_fields(structure: Any, name: str) -> Any:
    """Returns the structure of a tree, a `PyTreeDef`, as plain values.

    Raises:
        UnwritablePlanError: There are nodes of other types in it.
    """
    spec = jax.ShapeDtypeStruct((), "float32")
    return tree_fields(structure.unflatten([spec] * structure.num_leaves), name)


def structure_of(fields: Any) -> Any:
    """Returns the structure that `structure_fields` wrote."""
    return jax.tree.structure(tree_of(fields))
