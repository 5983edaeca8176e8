"""Axis rules of primitives that move elements without computing with them."""

from __future__ import annotations

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Outcome,
    Unclear,
    factors_of_axis,
    named,
    named_where_present,
    shape_of,
    through_reshape,
)


def broadcast_in_dim(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Moves the axis to where `broadcast_dimensions` says."""
    if operand > 0:
        return Unclear(why="its shape is computed")
    return factor.at(int(equation.parameters["broadcast_dimensions"][factor.position]))


def axes_from_broadcast(equation: Equation, count: int) -> tuple[Factor, ...]:
    """Returns the factors of `count` along which `broadcast_in_dim` repeats."""
    operand = shape_of(equation.inputs[0])
    kept = {
        int(position)
        for axis, position in enumerate(equation.parameters["broadcast_dimensions"])
        if operand[axis] > 1
    }
    return tuple(
        factor
        for position, length in enumerate(shape_of(equation.outputs[0]))
        if position not in kept
        for factor in factors_of_axis(position, length, count)
    )


def axes_from_iota(equation: Equation, count: int) -> tuple[Factor, ...]:
    """Returns the factors of `count` along which `iota` is constant."""
    counted = int(equation.parameters["dimension"])
    return tuple(
        factor
        for position, length in enumerate(shape_of(equation.outputs[0]))
        if position != counted
        for factor in factors_of_axis(position, length, count)
    )


def reshape(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Follows the factor by its stride through merged and split axes."""
    if operand > 0:
        return Unclear(why="its shape is computed")
    shape = shape_of(equation.inputs[0])
    order = equation.parameters.get("dimensions")
    if order is not None:
        shape = tuple(shape[axis] for axis in order)
        factor = factor.at(list(order).index(factor.position))
    moved = through_reshape(shape, shape_of(equation.outputs[0]), factor)
    return moved or Unclear(
        why="it cuts the examples apart and puts them together anew"
    )


def transpose(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Moves the axis to where the permutation says."""
    permutation = [int(axis) for axis in equation.parameters["permutation"]]
    return factor.at(permutation.index(factor.position))


def squeeze(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Counts the axes that fall away before the factor's."""
    rank = len(shape_of(equation.inputs[0]))
    gone = {int(axis) % rank for axis in equation.parameters["dimensions"]}
    return factor.at(factor.position - sum(axis < factor.position for axis in gone))


def rev(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis, unless it is the one that is reversed."""
    if factor.position in {int(axis) for axis in equation.parameters["dimensions"]}:
        return Unclear(why="it puts the examples into reverse order")
    return factor


def concatenate(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis; along it, whole batches may stand one after the other."""
    axis = int(equation.parameters["dimension"])
    if factor.position != axis:
        return factor
    lengths = [shape_of(atom)[axis] for atom in equation.inputs]
    block = factor.count * factor.after
    if any(length % block for length in lengths):
        return Unclear(why="it puts pieces together along the axis of the examples")
    return Factor(
        position=axis,
        before=sum(lengths) // block,
        count=factor.count,
        after=factor.after,
    )


def pad(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis; along it, padding may be whole batches."""
    low, high, interior = (
        int(size) for size in equation.parameters["padding_config"][factor.position]
    )
    block = factor.count * factor.after
    if interior or low % block or high % block:
        return Unclear(why="it pads the axis of the examples")
    return Factor(
        position=factor.position,
        before=factor.before + (low + high) // block,
        count=factor.count,
        after=factor.after,
    )


def sliced(factor: Factor, start: int, limit: int, stride: int) -> Outcome:
    """Returns what a static slice along the factor's own axis leaves of it."""
    block = factor.count * factor.after
    if stride == 1 and start % block == 0 and limit % block == 0 and limit > start:
        return Factor(
            position=factor.position,
            before=(limit - start) // block,
            count=factor.count,
            after=factor.after,
        )
    taken = -(-(limit - start) // stride)
    whole = factor.length // stride
    if factor.after % stride == 0 and start < stride and taken == whole:
        return Factor(
            position=factor.position,
            before=factor.before,
            count=factor.count,
            after=factor.after // stride,
        )
    return Unclear(why="it takes some of the examples")


def slice_(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis, or what is left of it."""
    strides = equation.parameters["strides"]
    return sliced(
        factor,
        int(equation.parameters["start_indices"][factor.position]),
        int(equation.parameters["limit_indices"][factor.position]),
        1 if strides is None else int(strides[factor.position]),
    )


def split(equation: Equation, operand: int, factor: Factor) -> tuple[Outcome, ...]:
    """Keeps the axis, or what each piece has of it."""
    if factor.position != int(equation.parameters["axis"]):
        return (factor,) * len(equation.outputs)
    outcomes: list[Outcome] = []
    start = 0
    for size in equation.parameters["sizes"]:
        outcomes.append(sliced(factor, start, start + int(size), 1))
        start += int(size)
    return tuple(outcomes)


def tile(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Repeats the whole axis."""
    repeats = int(equation.parameters["reps"][factor.position])
    return Factor(
        position=factor.position,
        before=factor.before * repeats,
        count=factor.count,
        after=factor.after,
    )


def stack(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Makes place for the new axis."""
    axis = int(equation.parameters["axis"])
    return factor.at(factor.position + (factor.position >= axis))


def unstack(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Closes the gap of the axis that falls away."""
    axis = int(equation.parameters["axis"])
    if factor.position == axis:
        return Unclear(why="it takes the examples apart")
    return factor.at(factor.position - (factor.position > axis))


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    by_name: dict[str, AxisRule] = {
        "broadcast_in_dim": broadcast_in_dim,
        "reshape": reshape,
        "transpose": transpose,
        "squeeze": squeeze,
        "rev": rev,
        "concatenate": concatenate,
        "pad": pad,
        "slice": slice_,
    }
    in_some_versions: dict[str, AxisRule] = {
        "split": split,
        "tile": tile,
        "stack": stack,
        "unstack": unstack,
    }
    return [
        *((named([name])[0], rule) for name, rule in by_name.items()),
        *(
            (primitive, rule)
            for name, rule in in_some_versions.items()
            for primitive in named_where_present([name])
        ),
    ]
