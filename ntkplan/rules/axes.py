"""Where the axes of a leaf are after a linear, data-free prefix.

A leaf's axis may be split by a reshape. Its pieces are atoms: `Atom(axis, stride,
size)` is the piece of leaf axis `axis` that runs over `size` steps of `stride` entries
each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class Atom:
    """A piece of an axis of a leaf.

    Attributes:
        axis: The leaf's axis, or -1 for an axis that a broadcast made.
        stride: Entries of the leaf's axis from one step to the next.
        size: Number of steps.
    """

    axis: int
    stride: int
    size: int


AxisAtoms = tuple[Atom, ...]
"""Atoms of one axis of an array, outermost first; empty for an axis of length one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxisMap:
    """What an array's axes are, in atoms of a leaf, and a constant factor.

    Attributes:
        axes: Atoms of each axis.
        factor: What the leaf is multiplied by.
    """

    axes: tuple[AxisAtoms, ...]
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(math.prod(atom.size for atom in atoms) for atoms in self.axes)


def identity(shape: Sequence[int]) -> AxisMap:
    """Returns the map of a leaf to itself.

    Example:
        >>> identity((3, 1)).axes
        ((Atom(axis=0, stride=1, size=3),), ())
    """
    return AxisMap(
        axes=tuple(
            (Atom(axis=axis, stride=1, size=size),) if size > 1 else ()
            for axis, size in enumerate(shape)
        )
    )


def transposed(axis_map: AxisMap, permutation: Sequence[int]) -> AxisMap:
    """Returns the map after its axes are permuted."""
    return dataclasses.replace(
        axis_map, axes=tuple(axis_map.axes[axis] for axis in permutation)
    )


def broadcast(
    axis_map: AxisMap, shape: Sequence[int], dimensions: Sequence[int]
) -> AxisMap:
    """Returns the map after `broadcast_in_dim`.

    A new axis longer than one gets an atom of its own, with axis -1, since the leaf
    does not vary along it.
    """
    axes: list[AxisAtoms] = [
        (Atom(axis=-1, stride=1, size=size),) if size > 1 else () for size in shape
    ]
    for source, target in enumerate(dimensions):
        if math.prod(atom.size for atom in axis_map.axes[source]) == shape[target]:
            axes[target] = axis_map.axes[source]
    return dataclasses.replace(axis_map, axes=tuple(axes))


def reshaped(axis_map: AxisMap, shape: Sequence[int]) -> AxisMap | None:
    """Returns the map after a reshape, or None where an axis would cut across atoms."""
    pending = [atom for atoms in axis_map.axes for atom in atoms]
    axes: list[AxisAtoms] = []
    for size in shape:
        atoms: list[Atom] = []
        while size > 1:
            if not pending:
                return None
            atom = pending.pop(0)
            inner = math.gcd(atom.size, size) if atom.size > size else atom.size
            if (atom.size > size and inner != size) or size % inner:
                return None
            if atom.size > inner:
                outer = dataclasses.replace(
                    atom, stride=atom.stride * (atom.size // inner), size=inner
                )
                rest = dataclasses.replace(atom, size=atom.size // inner)
                pending.insert(0, rest)
                atom = outer
            atoms.append(atom)
            size //= inner
        axes.append(tuple(atoms))
    return dataclasses.replace(axis_map, axes=tuple(axes))


def scaled(axis_map: AxisMap, factor: float) -> AxisMap:
    """Returns the map after a product with a constant."""
    return dataclasses.replace(axis_map, factor=axis_map.factor * factor)


def common_refinement(
    first: Sequence[int], second: Sequence[int]
) -> tuple[int, ...] | None:
    """Returns sizes into which both factorisations of one length can be split.

    Args:
        first: Factors of a length, outermost first.
        second: Other factors of the same length.

    Returns:
        The coarsest common refinement, or None where the two cut across each other.

    Example:
        >>> common_refinement((12,), (3, 4))
        (3, 4)
        >>> common_refinement((4, 3), (3, 4)) is None
        True
    """
    left, right = list(first), list(second)
    result: list[int] = []
    while left and right:
        smaller, larger = (left, right) if left[0] <= right[0] else (right, left)
        size = smaller.pop(0)
        if larger[0] % size:
            return None
        result.append(size)
        larger[0] //= size
        if larger[0] == 1:
            larger.pop(0)
    return tuple(result)
