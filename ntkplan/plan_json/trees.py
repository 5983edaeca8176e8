"""Trees of shapes as plain values that JSON can hold, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy

from ntkplan.errors import UnwritablePlanError


def tree_fields(tree: Any, name: str) -> Any:
    """Returns a tree of shapes as plain values.

    Args:
        tree: `jax.ShapeDtypeStruct`s in dictionaries, lists, tuples and None.
        name: What the tree is called, for the error.

    Raises:
        UnwritablePlanError: There are nodes of other types, or random keys, in it.
    """
    if isinstance(tree, jax.ShapeDtypeStruct):
        if jax.numpy.issubdtype(tree.dtype, jax.dtypes.extended):
            raise _unwritable(f"{name} holds an array of {tree.dtype}")
        return {"shape": list(tree.shape), "dtype": str(tree.dtype)}
    if tree is None:
        return None
    if type(tree) is dict and all(type(key) in (str, int) for key in tree):
        items = ([key, tree_fields(node, name)] for key, node in tree.items())
        return {"dict": list(items)}
    if type(tree) in (list, tuple):
        nodes = [tree_fields(node, name) for node in tree]
        return {type(tree).__name__: nodes}
    raise _unwritable(f"{name} is a tree with nodes of type {type(tree).__name__}")


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
    if fields is None:
        return None
    if not isinstance(fields, dict):
        raise ValueError("a tree is written in another way")
    if set(fields) == {"shape", "dtype"}:
        dtype = numpy.dtype(jax.numpy.dtype(fields["dtype"]))
        return jax.ShapeDtypeStruct(tuple(fields["shape"]), dtype)
    ((kind, nodes),) = fields.items()
    if kind == "dict":
        return {key: tree_of(node) for key, node in nodes}
    return {"list": list, "tuple": tuple}[kind](map(tree_of, nodes))


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
