"""Where the entries of a leaf are after a linear, data-free prefix.

An axis of a leaf may be sliced and split. What is left of it are digits, in the sense
of a number's: `Atom(axis, stride, size)` runs over `size` steps of `stride` entries of
leaf axis `axis`, from the map's offset on that axis. An axis of an array is a product
of atoms, of which some may come from no leaf (a broadcast, a product), and may hold
other entries around them (a pad, a concatenation).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ntkplan._jax import Var


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class Atom:
    """A piece of an axis.

    Attributes:
        axis: The leaf's axis; a negative number for an axis that the prefix made.
        stride: Entries of that axis from one step to the next; negative in a reversed
            one.
        size: Number of steps.
    """

    axis: int
    stride: int
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Where an axis's atoms lie among entries that are none of the leaf's.

    Attributes:
        low: Position of the first entry.
        step: Positions from one entry to the next.
        size: Length of the axis.
    """

    low: int
    step: int
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of an array: its atoms, outermost first, none for length one."""

    atoms: tuple[Atom, ...] = ()
    placement: Placement | None = None

    @property
    def inner_size(self) -> int:
        """How many of the axis's entries are the leaf's."""
        return math.prod(atom.size for atom in self.atoms)

    @property
    def size(self) -> int:
        """Length of the axis."""
        return self.inner_size if self.placement is None else self.placement.size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """A data-free array by which the leaf is multiplied on its way.

    Attributes:
        variable: What holds the array.
        axes: Atoms of each of its axes.
        depth: How many bodies of loops and branches it is inside of.
        hot: An atom along which it is one at the index that the variable holds, and
            zero elsewhere; None where the variable holds the array itself.
        rule: Name of the primitive that multiplies by it.
    """

    variable: Var
    axes: tuple[tuple[Atom, ...], ...]
    depth: int = 0
    hot: Atom | None = None
    rule: str

    @property
    def atoms(self) -> frozenset[Atom]:
        """All atoms of its axes."""
        hot = () if self.hot is None else (self.hot,)
        return frozenset((*hot, *(atom for atoms in self.axes for atom in atoms)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxisMap:
    """How an array is made of a leaf.

    Attributes:
        axes: The array's axes.
        offsets: For each axis of the leaf, where its atoms start.
        factor: A number by which the leaf is multiplied.
        scales: Arrays by which it is multiplied; a sum over atoms that only they and
            the leaf have is implied.
        steps: Atoms of the leaf's axes that loops around the array run over.
    """

    axes: tuple[Axis, ...]
    offsets: tuple[int, ...]
    factor: float = 1.0
    scales: tuple[Scale, ...] = ()
    steps: tuple[Atom, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(axis.size for axis in self.axes)

    @property
    def scaled_atoms(self) -> frozenset[Atom]:
        """Atoms that some scale has."""
        return frozenset().union(*(scale.atoms for scale in self.scales))

    @property
    def leaf_atoms(self) -> frozenset[Atom]:
        """Atoms of the leaf's own axes."""
        held = {atom for axis in self.axes for atom in axis.atoms}
        held |= self.scaled_atoms | set(self.steps)
        return frozenset(atom for atom in held if atom.axis >= 0)


def identity(shape: Sequence[int]) -> AxisMap:
    """Returns the map of a leaf to itself.

    Example:
        >>> [axis.size for axis in identity((3, 1)).axes]
        [3, 1]
    """
    return AxisMap(
        axes=tuple(
            Axis(atoms=(Atom(axis=number, stride=1, size=size),) if size > 1 else ())
            for number, size in enumerate(shape)
        ),
        offsets=(0,) * len(shape),
    )


def made_axis(maker: int, position: int, size: int) -> Axis:
    """Returns an axis that comes from no leaf.

    Args:
        maker: Number of the equation that makes it.
        position: Which of the equation's axes it is.
        size: Its length.
    """
    if size == 1:
        return Axis()
    return Axis(atoms=(Atom(axis=-1 - (maker << 8 | position), stride=1, size=size),))


def with_axes(axis_map: AxisMap, axes: Iterable[Axis], **changes: Any) -> AxisMap:
    """Returns the map with other axes."""
    return dataclasses.replace(axis_map, axes=tuple(axes), **changes)


def reshaped(axis_map: AxisMap, shape: Sequence[int]) -> AxisMap | None:
    """Returns the map after a reshape, or None where an axis would cut across atoms.

    Example:
        >>> reshaped(identity((6, 5)), (2, 3, 5)).axes[0].atoms
        (Atom(axis=0, stride=3, size=2),)
        >>> reshaped(identity((4, 3)), (3, 4)) is None
        True
    """
    pending: list[Atom | Axis] = []
    for axis in axis_map.axes:
        pending += [axis] if axis.placement is not None else axis.atoms
    split: dict[Atom, tuple[Atom, ...]] = {}
    axes: list[Axis] = []
    for size in shape:
        taken: list[Atom] = []
        left = size
        while left > 1:
            if not pending:
                return None
            item = pending.pop(0)
            if isinstance(item, Axis):
                if taken or item.size != size:
                    return None
                axes.append(item)
                break
            if item.size > left:
                if item.size % left:
                    return None
                pieces = _halves(item, left)
                split[item] = pieces
                item = pieces[0]
                pending.insert(0, pieces[1])
            if left % item.size:
                return None
            taken.append(item)
            left //= item.size
        else:
            axes.append(Axis(atoms=tuple(taken)))
    return with_axes(axis_map, axes, scales=_split_scales(axis_map.scales, split))


def _halves(atom: Atom, outer: int) -> tuple[Atom, Atom]:
    """Splits an atom into an outer piece of the given size and the rest."""
    inner = atom.size // outer
    return (
        dataclasses.replace(atom, stride=atom.stride * inner, size=outer),
        dataclasses.replace(atom, size=inner),
    )


def split_atom(atom: Atom, sizes: Sequence[int]) -> tuple[Atom, ...]:
    """Splits an atom into pieces of the given sizes, outermost first."""
    pieces: list[Atom] = []
    for size in sizes[:-1]:
        outer, atom = _halves(atom, size)
        pieces.append(outer)
    return (*pieces, atom)


def _split_scales(
    scales: Sequence[Scale], split: Mapping[Atom, tuple[Atom, ...]]
) -> tuple[Scale, ...]:
    def pieces(atom: Atom) -> tuple[Atom, ...]:
        if split.get(atom, (atom,)) == (atom,):
            return (atom,)
        return tuple(found for part in split[atom] for found in pieces(part))

    return tuple(
        dataclasses.replace(
            scale,
            axes=tuple(
                tuple(piece for atom in atoms for piece in pieces(atom))
                for atoms in scale.axes
            ),
        )
        for scale in scales
    )


def split_atoms(axis_map: AxisMap, split: Mapping[Atom, tuple[Atom, ...]]) -> AxisMap:
    """Returns the same map with some of its atoms in pieces."""
    axes = tuple(
        dataclasses.replace(
            axis,
            atoms=tuple(
                piece for atom in axis.atoms for piece in split.get(atom, (atom,))
            ),
        )
        for axis in axis_map.axes
    )
    return with_axes(axis_map, axes, scales=_split_scales(axis_map.scales, split))


class Absent:
    """What a slice leaves of a leaf that it does not touch: nothing."""


ABSENT = Absent()


def placed(
    axis_map: AxisMap, number: int, *, low: int, step: int, size: int
) -> AxisMap | None:
    """Returns the map after an axis becomes part of a longer one."""
    axis = axis_map.axes[number]
    if (low, step, size) == (0, 1, axis.size):
        return axis_map
    inner = axis.placement or Placement(low=0, step=1, size=axis.size)
    if low < 0 or low + (axis.size - 1) * step >= size:
        return None
    axes = list(axis_map.axes)
    axes[number] = Axis(
        atoms=axis.atoms,
        placement=Placement(
            low=low + inner.low * step, step=inner.step * step, size=size
        ),
    )
    return with_axes(axis_map, axes)


def scaled(axis_map: AxisMap, factor: float) -> AxisMap:
    """Returns the map after a product with a number."""
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
        swap = left[0] > right[0]
        small, large = (right, left) if swap else (left, right)
        size = small.pop(0)
        if large[0] % size:
            return None
        result.append(size)
        large[0] //= size
        if large[0] == 1:
            large.pop(0)
    return tuple(result)
