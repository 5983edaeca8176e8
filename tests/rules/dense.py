"""What labels and axis maps say, spelled out entry by entry in numpy.

A labelling or a map is a sum over the values of all its labels or atoms, each of which
adds one product to one entry of a dense Jacobian, `[*value, *parameter]`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ntkplan.ir.use import Patches
from ntkplan.rules.axes import Atom, AxisMap, Placement
from ntkplan.rules.labelling import AxisLabels, Labelling

Valued = Callable[[Any], np.ndarray]


def labelled_jacobian(
    labelling: Labelling,
    value_shape: Sequence[int],
    parameter_shape: Sequence[int],
    valued: Valued,
) -> np.ndarray:
    """Returns the Jacobian that a rule's labels stand for.

    Args:
        labelling: What the rule says.
        value_shape: Shape of the equation's result.
        parameter_shape: Shape of the operand.
        valued: Returns what a variable holds.
    """
    names = sorted(labelling.sizes)
    digits = _digits([labelling.sizes[name] for name in names])
    by_name = dict(zip(names, digits, strict=True))

    def along(
        groups: Sequence[AxisLabels],
        shape: Sequence[int],
        placements: Mapping[str, Placement],
    ) -> tuple[Any, ...]:
        return tuple(
            _along(group, size, by_name, labelling.sizes, placements)
            for group, size in zip(groups, shape, strict=True)
        )

    terms = np.full(digits[0].shape if digits else (), labelling.factor)
    if labelling.recorded is not None:
        recorded, groups = valued(labelling.recorded), labelling.activations
        if labelling.patches is not None:
            groups = tuple((name,) for group in groups for name in group)
            recorded = windows(recorded, labelling.patches).reshape(
                [labelling.sizes[name] for (name,) in groups]
            )
        found = recorded[along(groups, recorded.shape, {})]
        if labelling.hot is not None:
            found = found == by_name[labelling.hot]
        terms = terms * found
    axes = (*labelling.value, *labelling.parameter, *labelling.activations)
    used = {name for group in axes for name in group}
    assert used >= {name for name in names if labelling.sizes[name] > 1}
    index = (
        *along(labelling.value, value_shape, labelling.placements),
        *along(labelling.parameter, parameter_shape, {}),
    )
    return _summed((*value_shape, *parameter_shape), index, terms)


def _along(
    group: Sequence[str],
    size: int,
    by_name: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    placements: Mapping[str, Placement],
) -> Any:
    """Returns the index along one axis, which must have room for all its labels."""
    index: Any = 0
    for name in group:
        index = index * sizes[name] + by_name[name]
    placed = [placements[name] for name in group if name in placements]
    if not placed:
        assert size == math.prod(sizes[name] for name in group)
        return index
    (placement,) = placed
    assert len(group) == 1
    assert placement.size == size
    return placement.low + placement.step * index


def _digits(sizes: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Returns, for every label, its value in each of all combinations."""
    if not sizes:
        return ()
    return tuple(item.ravel() for item in np.indices(tuple(sizes)))


def _summed(shape: Sequence[int], index: tuple[Any, ...], terms: Any) -> np.ndarray:
    result = np.zeros(shape)
    terms = np.asarray(terms, np.float64)
    if not shape:
        return result + terms.sum()
    index = tuple(np.broadcast_to(item, terms.shape) for item in index)
    for item, size in zip(index, shape, strict=True):
        assert np.all((item >= 0) & (item < size))
    np.add.at(result, index, terms)
    return result


def windows(array: np.ndarray, patches: Patches) -> np.ndarray:
    """Returns `[*lead, *positions, *window, features]`, entry by entry."""
    array = np.transpose(array, patches.order)
    n_spatial = len(patches.window)
    lead = array.shape[: array.ndim - 1 - n_spatial]
    spatial = array.shape[len(lead) : -1]
    positions = []
    for size, window, stride, (low, high), spread, hole in zip(
        spatial,
        patches.window,
        patches.strides,
        patches.padding,
        patches.input_dilation,
        patches.window_dilation,
        strict=True,
    ):
        length = low + (size - 1) * spread + 1 + high
        positions.append(max(0, (length - (window - 1) * hole - 1) // stride + 1))
    result = np.zeros((*lead, *positions, *patches.window, array.shape[-1]))
    for place in itertools.product(*map(range, positions)):
        for offset in itertools.product(*map(range, patches.window)):
            source = []
            for axis, (at, step) in enumerate(zip(place, offset, strict=True)):
                entry = (
                    at * patches.strides[axis] + step * patches.window_dilation[axis]
                )
                entry -= patches.padding[axis][0]
                whole, rest = divmod(entry, patches.input_dilation[axis])
                source.append(whole if rest == 0 else -1)
            inside = all(
                0 <= at < size for at, size in zip(source, spatial, strict=True)
            )
            if inside:
                result[(..., *place, *offset, slice(None))] = array[
                    (..., *source, slice(None))
                ]
    return result


def mapped_jacobian(
    axis_map: AxisMap, leaf_shape: Sequence[int], valued: Valued
) -> np.ndarray:
    """Returns the Jacobian, `[*array, *leaf]`, that an axis map stands for."""
    atoms = sorted(
        axis_map.leaf_atoms
        | {atom for axis in axis_map.axes for atom in axis.atoms}
        | axis_map.scaled_atoms
    )
    digits = dict(zip(atoms, _digits([atom.size for atom in atoms]), strict=True))
    terms: Any = np.full(next(iter(digits.values())).shape if digits else (), 1.0)
    terms = terms * axis_map.factor
    for scale in axis_map.scales:
        array = valued(scale.variable)
        assert array.ndim == len(scale.axes)
        index = tuple(
            _ravelled(many, size, digits)
            for many, size in zip(scale.axes, array.shape, strict=True)
        )
        found = array[index]
        terms = terms * (found if scale.hot is None else found == digits[scale.hot])
    positions = []
    for axis in axis_map.axes:
        index = _ravelled(axis.atoms, axis.inner_size, digits)
        if axis.placement is not None:
            index = axis.placement.low + axis.placement.step * index
        positions.append(index)
    return _summed(
        (*axis_map.shape, *leaf_shape),
        (*positions, *leaf_index(axis_map, digits)),
        terms,
    )


def leaf_index(axis_map: AxisMap, digits: Mapping[Atom, Any]) -> tuple[Any, ...]:
    """Returns the leaf's entry for every combination of digits."""
    return tuple(
        offset
        + sum(
            (atom.stride * digits[atom] for atom in digits if atom.axis == number),
            start=0,
        )
        for number, offset in enumerate(axis_map.offsets)
    )


def _ravelled(atoms: Sequence[Atom], size: int, digits: Mapping[Atom, Any]) -> Any:
    assert math.prod(atom.size for atom in atoms) == size
    index: Any = 0
    for atom in atoms:
        index = index * atom.size + digits[atom]
    return index
