"""Axis rules of gathers, scatters and dynamic slices."""

from __future__ import annotations

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Outcome,
    Unclear,
    named,
    named_where_present,
    shape_of,
)

_CHOOSES = Unclear(why="it picks among the examples by an index", lands=False)
_WINDOW = Unclear(why="it takes some of the examples by an index")
_SOME = Unclear(why="it writes to some of the examples")
_VECTOR = Unclear(why="an index is made of several examples")
_PLACES = Unclear(why="indices of an example say where in a shared array it goes")


def gather(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Batched axes and whole axes of the operand, and the indices' axes, are kept."""
    numbers = equation.parameters["dimension_numbers"]
    if operand == 1:
        return _of_gather_indices(equation, factor)
    batching = [int(axis) for axis in numbers.operand_batching_dims]
    if factor.position in batching:
        which = batching.index(factor.position)
        index_axis = int(numbers.start_indices_batching_dims[which])
        return _of_gather_indices(equation, factor.at(index_axis))
    collapsed = {int(axis) for axis in numbers.collapsed_slice_dims}
    if factor.position in collapsed:
        return _CHOOSES
    if int(equation.parameters["slice_sizes"][factor.position]) != factor.length:
        return _WINDOW
    gone = {*batching, *collapsed}
    place = sum(axis not in gone for axis in range(factor.position))
    return factor.at(int(sorted(numbers.offset_dims)[place]))


def _of_gather_indices(equation: Equation, factor: Factor) -> Outcome:
    """The indices' axes but the last are the output's that are no offsets."""
    if factor.position == len(shape_of(equation.inputs[1])) - 1:
        return _VECTOR
    offsets = {
        int(axis) for axis in equation.parameters["dimension_numbers"].offset_dims
    }
    rank = len(shape_of(equation.outputs[0]))
    batch_axes = [axis for axis in range(rank) if axis not in offsets]
    return factor.at(batch_axes[factor.position])


def scatter(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Batched axes and axes that are written whole are kept."""
    numbers = equation.parameters["dimension_numbers"]
    batching = {int(axis) for axis in numbers.operand_batching_dims}
    inserted = {int(axis) for axis in numbers.inserted_window_dims}
    operand_shape = shape_of(equation.inputs[0])
    window_axes = sorted(int(axis) for axis in numbers.update_window_dims)
    kept = [
        axis
        for axis in range(len(operand_shape))
        if axis not in batching and axis not in inserted
    ]
    target_of = dict(zip(window_axes, kept, strict=True))
    updates_shape = shape_of(equation.inputs[2])
    whole = {
        target
        for axis, target in target_of.items()
        if updates_shape[axis] == operand_shape[target]
    }
    if operand == 0:
        return factor if factor.position in batching | whole else _SOME
    if operand == 1:
        return _of_scatter_indices(equation, factor)
    target = target_of.get(factor.position)
    if target is not None:
        return factor.at(target) if target in whole else _WINDOW
    place = sum(axis not in target_of for axis in range(factor.position))
    return _of_scatter_indices(equation, factor.at(place))


def _of_scatter_indices(equation: Equation, factor: Factor) -> Outcome:
    """A batched axis of the indices is one of the operand's."""
    if factor.position == len(shape_of(equation.inputs[1])) - 1:
        return _VECTOR
    numbers = equation.parameters["dimension_numbers"]
    batching = [int(axis) for axis in numbers.scatter_indices_batching_dims]
    if factor.position not in batching:
        return _PLACES
    which = batching.index(factor.position)
    return factor.at(int(numbers.operand_batching_dims[which]))


def dynamic_slice(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Axes that are taken whole are kept."""
    if int(equation.parameters["slice_sizes"][factor.position]) != factor.length:
        return _WINDOW
    return factor


def dynamic_update_slice(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Axes that are written whole are kept."""
    axis = factor.position
    if shape_of(equation.inputs[0])[axis] != shape_of(equation.inputs[1])[axis]:
        return _SOME
    return factor


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    scatters = [
        *named(["scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"]),
        *named_where_present(["scatter_sub"]),
    ]
    return [
        (named(["gather"])[0], gather),
        *((primitive, scatter) for primitive in scatters),
        (named(["dynamic_slice"])[0], dynamic_slice),
        (named(["dynamic_update_slice"])[0], dynamic_update_slice),
    ]
