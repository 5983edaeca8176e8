"""Which entries of a leaf an array is made of."""

from __future__ import annotations

import itertools
import math

from ntkplan.rules.axes import AxisMap

AxisRegion = tuple[int, tuple[tuple[int, int], ...]]
"""The least index of an axis, and strides and sizes of its digits, outermost first,
joined where they can be."""

Region = tuple[AxisRegion, ...]
"""Which entries of a leaf a map reads, axis by axis."""


def region(axis_map: AxisMap) -> Region:
    """Returns which entries of the leaf the array is made of.

    Example:
        >>> from ntkplan.rules.axes import identity, reshaped
        >>> region(reshaped(identity((6,)), (2, 3)))
        ((0, ((1, 6),)),)
    """
    found: list[AxisRegion] = []
    for number, offset in enumerate(axis_map.offsets):
        atoms = [atom for atom in axis_map.leaf_atoms if atom.axis == number]
        least = offset + sum(
            (atom.size - 1) * atom.stride for atom in atoms if atom.stride < 0
        )
        digits: list[tuple[int, int]] = []
        for stride, size in sorted(
            ((abs(atom.stride), atom.size) for atom in atoms), reverse=True
        ):
            if digits and digits[-1][0] == stride * size:
                digits[-1] = (stride, digits[-1][1] * size)
            else:
                digits.append((stride, size))
        found.append((least, tuple(digits)))
    return tuple(found)


_LISTED = 1_000_000
"""Entries of an axis up to which two interleaved regions are compared one by one."""


def disjoint(first: Region, second: Region) -> bool:
    """Says whether two regions of one leaf are known to have no entry in common."""
    return any(_apart(one, other) for one, other in zip(first, second, strict=True))


def _apart(one: AxisRegion, other: AxisRegion) -> bool:
    if one == other:
        return False
    if _last(one) < other[0] or _last(other) < one[0]:
        return True
    if max(_count(one), _count(other)) > _LISTED:
        return False
    return _entries(one).isdisjoint(_entries(other))


def _last(axis: AxisRegion) -> int:
    return axis[0] + sum(stride * (size - 1) for stride, size in axis[1])


def _count(axis: AxisRegion) -> int:
    return math.prod(size for _, size in axis[1])


def _entries(axis: AxisRegion) -> frozenset[int]:
    start, digits = axis
    ranges = (range(0, stride * size, stride) for stride, size in digits)
    return frozenset(start + sum(steps) for steps in itertools.product(*ranges))
