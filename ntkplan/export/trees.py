"""Trees of arrays as JSON can hold them: no type that is not Python's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy

from ntkplan.arguments import require_arrays
from ntkplan.errors import MismatchedInputsError
from ntkplan.json_trees import tree_from_json, tree_to_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeafSpec:
    """An array that an exported kernel takes.

    Attributes:
        path: Where it is in its tree, as `jax.tree_util.keystr` writes it.
        shape: Its shape; None for the number of examples.
        dtype: Its data type.
    """

    path: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        """Returns `float32[n, 3]`."""
        sizes = ", ".join("n" if size is None else str(size) for size in self.shape)
        return f"{self.dtype}[{sizes}]"


def leaf_specs(tree: Any, batch_axis: int | None) -> tuple[LeafSpec, ...]:
    """Describes the leaves of a tree, in their order.

    Args:
        tree: Arrays, or what has their shape and dtype.
        batch_axis: The axis whose length is free, or None.
    """
    found: list[LeafSpec] = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        shape: list[int | None] = list(leaf.shape)
        if batch_axis is not None:
            shape[batch_axis] = None
        path = jax.tree_util.keystr(keys)
        spec = LeafSpec(path=path, shape=tuple(shape), dtype=str(leaf.dtype))
        found.append(spec)
    return tuple(found)


def checked_leaves(name: str, tree: Any, wanted: Sequence[LeafSpec]) -> list[Any]:
    """Returns the leaves of a tree that is given to an exported kernel.

    Leaves are known by their paths, so that a tree of other types with the same paths
    does as well, and so does a list of all leaves in their order.

    Args:
        name: What the tree is called.
        tree: Arrays.
        wanted: What they have to be.

    Raises:
        MismatchedInputsError: A path, a shape or a dtype is another.
    """
    hint = f"Pass {name} as the kernel was exported for, or export it again"
    require_arrays(name, tree)
    keyed = jax.tree_util.tree_leaves_with_path(tree)
    paths = [jax.tree_util.keystr(keys) for keys, _ in keyed]
    expected = [spec.path for spec in wanted]
    in_order = type(tree) is list and len(tree) == len(paths) == len(expected)
    if paths != expected and not in_order:
        raise MismatchedInputsError(
            what=f"the leaves of {name}",
            got=_listed(name, paths),
            wanted=_listed(name, expected),
            hint=hint,
        )
    for (_, array), spec in zip(keyed, wanted, strict=True):
        shape = numpy.shape(array)
        dtype = str(jax.numpy.result_type(array))
        same = len(shape) == len(spec.shape) and all(
            need is None or size == need
            for size, need in zip(shape, spec.shape, strict=True)
        )
        if not same or dtype != spec.dtype:
            got = LeafSpec(path=spec.path, shape=shape, dtype=dtype)
            raise MismatchedInputsError(
                what=f"{name}{spec.path}", got=got, wanted=spec, hint=hint
            )
    return [array for _, array in keyed]


def count(name: str, leaves: Sequence[Any], batch_axis: int) -> int:
    """Returns the number of examples that all arrays agree on.

    Raises:
        MismatchedInputsError: They do not agree.
    """
    counts = [numpy.shape(leaf)[batch_axis] for leaf in leaves]
    if len(set(counts)) > 1:
        raise MismatchedInputsError(
            what=f"the numbers of examples in {name}",
            got=counts,
            wanted="the same in every array",
            hint=f"Pass arrays of as many examples each in {name}",
        )
    return counts[0]


def _listed(name: str, paths: Sequence[str]) -> str:
    return ", ".join(f"{name}{path}" for path in paths) or "none"


def to_json(tree: Any) -> Any:
    """Writes a tree of numbers, or returns None where a node is of another type.

    Args:
        tree: Numbers in dictionaries, lists, tuples and None.

    Example:
        >>> to_json({"logits": 0, "rest": (1, None)})
        {'dict': [['logits', 0], ['rest', {'tuple': [1, {'none': []}]}]]}
    """

    def written(node: Any) -> Any:
        if type(node) is int:
            return node
        if node is None:
            return {"none": []}
        raise TypeError(f"nodes of {type(node).__name__} are not written")

    try:
        return tree_to_json(tree, written)
    except TypeError:
        return None


def from_json(value: Any, leaves: Sequence[Any]) -> Any:
    """Puts leaves into the tree that `to_json` wrote.

    Example:
        >>> from_json({"dict": [["logits", 0], ["rest", {"tuple": [1]}]]}, "ab")
        {'logits': 'a', 'rest': ('b',)}
    """

    def read(node: Any) -> Any:
        return leaves[node] if isinstance(node, int) else None

    return tree_from_json(value, read)
