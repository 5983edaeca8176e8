"""Linear, data-free equations between a leaf and its uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy

from ntkplan._jax import Literal, Primitive, array_dtype, array_shape, primitives
from ntkplan.ir.equation import Equation
from ntkplan.rules import axes
from ntkplan.rules.axes import AxisMap

PrefixRule = Callable[[Equation, int, AxisMap], AxisMap | None]
"""Carries an axis map through an equation's operand; None where it is no prefix."""


def _transpose(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    return axes.transposed(axis_map, equation.parameters["permutation"])


def _reshape(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    if equation.parameters.get("dimensions") is not None:
        return None
    return axes.reshaped(axis_map, array_shape(equation.outputs[0]))


def _squeeze(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    return axes.reshaped(axis_map, array_shape(equation.outputs[0]))


def _broadcast(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    return axes.broadcast(
        axis_map,
        array_shape(equation.outputs[0]),
        equation.parameters["broadcast_dimensions"],
    )


def _cast(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    target = array_dtype(equation.outputs[0])
    return axis_map if numpy.dtype(target).kind in "fV" else None


def _negate(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    return axes.scaled(axis_map, -1.0)


def _multiply(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    other = equation.inputs[1 - operand]
    if not isinstance(other, Literal):
        return None
    return axes.scaled(axis_map, float(other.val))


def _divide(equation: Equation, operand: int, axis_map: AxisMap) -> AxisMap | None:
    divisor = equation.inputs[1]
    if operand != 0 or not isinstance(divisor, Literal):
        return None
    return axes.scaled(axis_map, 1.0 / float(divisor.val))


PREFIX_RULES: Mapping[Primitive, PrefixRule] = {
    primitives.transpose_p: _transpose,
    primitives.reshape_p: _reshape,
    primitives.squeeze_p: _squeeze,
    primitives.broadcast_in_dim_p: _broadcast,
    primitives.convert_element_type_p: _cast,
    primitives.copy_p: lambda equation, operand, axis_map: axis_map,
    primitives.neg_p: _negate,
    primitives.mul_p: _multiply,
    primitives.div_p: _divide,
}
