"""What the model is given, sorted by what it is to a kernel."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.drop_in.example_axes import (
    ExampleAxes,
    axes_of_keywords,
    axes_of_tree,
)
from ntkplan.errors import KeywordArgumentError, MismatchedInputsError


class Role(enum.Enum):
    """What one leaf of inputs and keyword arguments is.

    Attributes:
        EXAMPLES: An array with an example axis.
        COMMON: An array that all examples of both sides share.
        OWN: An array that the examples of one side share.
        STATIC: A value that the model is traced with: a string, a flag.
    """

    EXAMPLES = enum.auto()
    COMMON = enum.auto()
    OWN = enum.auto()
    STATIC = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How the leaves of `(x, keyword arguments)` go apart and together again.

    Two equal layouts sort equal trees alike, so it is part of a plan's key.

    Attributes:
        structure: Of the tree.
        roles: Of each leaf.
        axes: The example axis of each leaf, None where it has none.
        static: Values of the static leaves, in order, each with its type.
    """

    structure: Hashable
    roles: tuple[Role, ...]
    axes: tuple[int | None, ...]
    static: tuple[tuple[type, Any], ...]

    @property
    def example_axes(self) -> tuple[int, ...]:
        """Axes of the leaves with examples, in order."""
        return tuple(axis for axis in self.axes if axis is not None)

    def take(self, leaves: Sequence[Any], role: Role) -> list[Any]:
        """Returns the leaves of a role, in order."""
        return [
            leaf for leaf, own in zip(leaves, self.roles, strict=True) if own is role
        ]

    def join(
        self, *, examples: Sequence[Any], common: Sequence[Any], own: Sequence[Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Puts inputs and keyword arguments together from the leaves of every role."""
        sources = {
            Role.EXAMPLES: iter(examples),
            Role.COMMON: iter(common),
            Role.OWN: iter(own),
            Role.STATIC: iter([value for _, value in self.static]),
        }
        leaves = [next(sources[role]) for role in self.roles]
        return jax.tree.unflatten(self.structure, leaves)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One side's inputs and keyword arguments.

    Attributes:
        x: Examples.
        keywords: Keyword arguments.
    """

    x: Any
    keywords: Mapping[str, Any]

    @property
    def leaves(self) -> list[Any]:
        """Leaves of both, in order."""
        return jax.tree.leaves((self.x, dict(self.keywords)))


def sort_inputs(side: Side, other: Side | None, axes: ExampleAxes) -> Layout:
    """Says of every leaf of one side what it is.

    Args:
        side: The side.
        other: The other side, or None where there is none.
        axes: Where the examples are.

    Raises:
        VmapAxesError: The axes do not fit.
        KeywordArgumentError: A static value has an example axis, or cannot be compared.
        MismatchedInputsError: The other side has another structure.
    """
    tree = (side.x, dict(side.keywords))
    keys_and_leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in keys_and_leaves]
    found = [
        *axes_of_tree("x", axes.x, side.x),
        *axes_of_keywords(axes.keywords, side.keywords),
    ]
    others = leaves if other is None else other.leaves
    if len(others) != len(leaves):
        raise MismatchedInputsError(
            what="arrays on the side of x2",
            got=len(others),
            wanted=len(leaves),
            hint="Pass both sides trees of the same structure",
        )
    roles = tuple(
        _role(leaf, mate, axis)
        for leaf, mate, axis in zip(leaves, others, found, strict=True)
    )
    static = []
    for (keys, leaf), role, axis in zip(keys_and_leaves, roles, found, strict=True):
        if role is Role.STATIC:
            place = jax.tree_util.keystr(keys[1:])
            static.append((type(leaf), _comparable(place, leaf, axis)))
    return Layout(
        structure=structure, roles=roles, axes=tuple(found), static=tuple(static)
    )


def is_static(leaf: Any) -> bool:
    """Says whether a leaf is no array and no number; flags are none.

    Example:
        >>> is_static("train"), is_static(True), is_static(2.0)
        (True, True, False)
    """
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return False
    return isinstance(leaf, bool) or not isinstance(leaf, int | float | complex)


def broadcast_over_examples(array: Any, n_examples: int) -> jax.Array:
    """Repeats an array for every example, on a new first axis."""
    array = jnp.asarray(array)
    return jnp.broadcast_to(array, (n_examples, *array.shape))


def _role(leaf: Any, other: Any, axis: int | None) -> Role:
    if is_static(leaf):
        return Role.STATIC
    if axis is not None:
        return Role.EXAMPLES
    return Role.COMMON if leaf is other else Role.OWN


def _comparable(place: str, value: Any, axis: int | None) -> Any:
    """Checks that a static value can tell one plan from another."""
    if axis is not None:
        raise KeywordArgumentError(
            name=place,
            why=f"is {value!r}, which has no example axis",
            hint="Leave it out of vmap_axes",
        )
    try:
        hash(value)
    except TypeError:
        raise KeywordArgumentError(
            name=place,
            why=f"is a {type(value).__name__}, neither an array nor hashable",
            hint="Pass arrays, numbers, strings or flags, or close over it in f",
        ) from None
    return value
