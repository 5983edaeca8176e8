"""Slices and reversals of an array that is made of a leaf.

What is left of an axis is left of its atoms, and of every array by which the leaf is
multiplied along them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ntkplan.rules.axes import ABSENT, Absent, Atom, Axis, AxisMap, Scale, with_axes
from ntkplan.rules.step import Step

Entries = Mapping[Atom, range]
"""Which steps of some atoms are left, in their order."""


def sliced(
    step: Step,
    axis_map: AxisMap,
    starts: Sequence[int],
    limits: Sequence[int],
    strides: Sequence[int],
) -> AxisMap | Absent | None:
    """Returns the map after a slice.

    Returns:
        None where the slice cuts across atoms, `ABSENT` where it takes no entry of the
        leaf.
    """
    result: list[Axis] = []
    left: dict[Atom, range] = {}
    for axis, start, limit, stride in zip(
        axis_map.axes, starts, limits, strides, strict=True
    ):
        if (start, limit, stride) == (0, axis.size, 1):
            result.append(axis)
            continue
        if axis.placement is not None:
            inside = _inside(axis, start, limit, stride)
            if inside is None or isinstance(inside, Absent):
                return inside
            axis, start, limit = inside
        found = _left(axis.atoms, start, limit, stride)
        if found is None:
            return None
        left |= found
        result.append(axis)
    return _applied(step, with_axes(axis_map, result), left)


def turned(step: Step, axis_map: AxisMap, dimensions: Iterable[int]) -> AxisMap | None:
    """Returns the map after some of its axes are turned around."""
    left: dict[Atom, range] = {}
    for number in dimensions:
        axis = axis_map.axes[number]
        if axis.placement is not None:
            return None
        left |= {atom: range(atom.size)[::-1] for atom in axis.atoms}
    return _applied(step, axis_map, left)


def _inside(
    axis: Axis, start: int, limit: int, stride: int
) -> tuple[Axis, int, int] | Absent | None:
    """Reduces a slice of a placed axis to one of its atoms, where that is possible."""
    placement = axis.placement
    if placement is None or placement.step != 1:
        return None
    low, high = placement.low, placement.low + axis.inner_size
    if limit <= low or start >= high:
        return ABSENT
    if start < low or limit > high:
        return None
    return Axis(atoms=axis.atoms), start - low, limit - low


def _left(
    atoms: Sequence[Atom], start: int, limit: int, stride: int
) -> dict[Atom, range] | None:
    """Says what a slice leaves of a product of atoms; None where it cuts across."""
    if not atoms:
        return {}
    outer, rest = atoms[0], atoms[1:]
    inner = math.prod(atom.size for atom in rest)
    first, last = start // inner, (limit - 1) // inner
    if rest and first == last:
        found = _left(rest, start % inner, (limit - 1) % inner + 1, stride)
        return None if found is None else {outer: range(first, first + 1), **found}
    if rest and (start % inner or limit % inner or stride != 1):
        return None
    return {outer: range(first, last + 1, stride)}


def _applied(step: Step, axis_map: AxisMap, left: Entries) -> AxisMap | None:
    """Leaves out of a map, and of what the leaf is multiplied by, what is cut off."""
    offsets = list(axis_map.offsets)
    for atom, entries in left.items():
        if atom.axis >= 0:
            offsets[atom.axis] += entries.start * atom.stride
    scales: list[Scale] = []
    for scale in axis_map.scales:
        if scale.atoms.isdisjoint(left):
            scales.append(scale)
            continue
        # A body cannot compute with what is outside of it.
        if scale.hot in left or scale.depth != step.depth:
            return None
        scales.append(_cut_scale(step, scale, left))
    axes = (
        dataclasses.replace(axis, atoms=_cut_atoms(axis.atoms, left))
        for axis in axis_map.axes
    )
    return with_axes(axis_map, axes, offsets=tuple(offsets), scales=tuple(scales))


def _cut_atoms(atoms: Iterable[Atom], left: Entries) -> tuple[Atom, ...]:
    """Returns what is left of atoms; one with a single step is none."""
    result: list[Atom] = []
    for atom in atoms:
        entries = left.get(atom, range(atom.size))
        if len(entries) > 1:
            # Atoms of axes that the prefix made are told apart by their names only.
            stride = atom.stride * (entries.step if atom.axis >= 0 else 1)
            result.append(dataclasses.replace(atom, stride=stride, size=len(entries)))
    return tuple(result)


def _cut_scale(step: Step, scale: Scale, left: Entries) -> Scale:
    flat = [atom for atoms in scale.axes for atom in atoms]
    index = tuple(_as_slice(left.get(atom, range(atom.size))) for atom in flat)
    axes = tuple(_cut_atoms(atoms, left) for atoms in scale.axes)
    shape = [math.prod(atom.size for atom in atoms) for atoms in axes]

    def cut(array: Any) -> Any:
        return array.reshape([atom.size for atom in flat])[index].reshape(shape)

    variable = step.derive(cut, scale.variable)
    return dataclasses.replace(scale, variable=variable, axes=axes)


def _as_slice(entries: range) -> slice:
    stop = None if entries.stop < 0 else entries.stop
    return slice(entries.start, stop, entries.step)
