"""Axis rules of matrix products and convolutions."""

from __future__ import annotations

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Mixes,
    Outcome,
    Unclear,
    named,
    shape_of,
)
from ntkplan.trace.axis_rules.reductions import windowed

_CONTRACTS = Mixes(why="it contracts over the axis of the examples")


def dot_general(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Batch axes come first, then the free axes of each side; others are summed."""
    contracted, batch = equation.parameters["dimension_numbers"]
    own_batch = [int(axis) for axis in batch[operand]]
    own_contracted = [int(axis) for axis in contracted[operand]]
    if factor.position in own_contracted:
        return _CONTRACTS
    if factor.position in own_batch:
        return factor.at(own_batch.index(factor.position))
    bound = {*own_batch, *own_contracted}
    free_before = sum(axis not in bound for axis in range(factor.position))
    position = len(own_batch) + free_before
    if operand == 1:
        left_rank = len(shape_of(equation.inputs[0]))
        position += left_rank - len(own_batch) - len(own_contracted)
    return factor.at(position)


def convolution(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Images' batch and grouped features, and filters' output features, stay apart."""
    numbers = equation.parameters["dimension_numbers"]
    if operand == 1:
        if factor.position == numbers.rhs_spec[0]:
            return factor.at(int(numbers.out_spec[1]))
        return _CONTRACTS
    if factor.position == numbers.lhs_spec[0]:
        return _image_batch(equation, factor)
    if factor.position == numbers.lhs_spec[1]:
        return _image_features(equation, factor)
    return _image_positions(equation, factor)


def _image_batch(equation: Equation, factor: Factor) -> Outcome:
    """The batch axis, of which `batch_group_count` moves groups to the features."""
    batch_axis, feature_axis = equation.parameters["dimension_numbers"].out_spec[:2]
    groups = int(equation.parameters["batch_group_count"])
    per_group = factor.length // groups
    if groups > 1 and factor.after % per_group == 0:
        features = shape_of(equation.outputs[0])[feature_axis]
        return Factor(
            position=int(feature_axis),
            before=factor.before,
            count=factor.count,
            after=factor.after // per_group * (features // groups),
        )
    if factor.before % groups == 0:
        return Factor(
            position=int(batch_axis),
            before=factor.before // groups,
            count=factor.count,
            after=factor.after,
        )
    return Unclear(why="its batch groups cut the examples apart")


def _image_features(equation: Equation, factor: Factor) -> Outcome:
    """The feature axis, which is contracted within each of its groups."""
    feature_axis = int(equation.parameters["dimension_numbers"].out_spec[1])
    groups = int(equation.parameters["feature_group_count"])
    per_group = factor.length // groups
    if factor.after % per_group == 0:
        features = shape_of(equation.outputs[0])[feature_axis]
        return Factor(
            position=feature_axis,
            before=factor.before,
            count=factor.count,
            after=factor.after // per_group * (features // groups),
        )
    if factor.before % groups == 0:
        return _CONTRACTS
    return Unclear(why="its feature groups may span several examples")


def _image_positions(equation: Equation, factor: Factor) -> Outcome:
    """A spatial axis, over which the filter passes in windows."""
    parameters = equation.parameters
    numbers = parameters["dimension_numbers"]
    place = list(numbers.lhs_spec[2:]).index(factor.position)
    output_axis = int(numbers.out_spec[2 + place])
    low, high = parameters["padding"][place]
    outcome = windowed(
        factor,
        window=shape_of(equation.inputs[1])[numbers.rhs_spec[2 + place]],
        stride=int(parameters["window_strides"][place]),
        padding=(int(low), int(high)),
        base_dilation=int(parameters["lhs_dilation"][place]),
        window_dilation=int(parameters["rhs_dilation"][place]),
        length=shape_of(equation.outputs[0])[output_axis],
    )
    return outcome.at(output_axis) if isinstance(outcome, Factor) else outcome


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    return [
        (named(["dot_general"])[0], dot_general),
        (named(["conv_general_dilated"])[0], convolution),
    ]
