"""Rules for sums with data: `add`, `add_any` and `sub`."""

from __future__ import annotations

from ntkplan._jax import array_shape
from ntkplan.ir.equation import Equation
from ntkplan.rules.labelling import Labelling, entrywise_axes


def add(equation: Equation, operand: int) -> Labelling:
    """Labels an entrywise sum: the parameter is multiplied by one."""
    return _entrywise(equation, operand, rule="add", factor=1.0)


def subtract(equation: Equation, operand: int) -> Labelling:
    """Labels an entrywise difference: the right operand is multiplied by minus one."""
    return _entrywise(equation, operand, rule="sub", factor=-1.0 if operand else 1.0)


def _entrywise(
    equation: Equation, operand: int, *, rule: str, factor: float
) -> Labelling:
    shape = array_shape(equation.outputs[0])
    return Labelling(
        rule=rule,
        value=entrywise_axes(shape, shape),
        parameter=entrywise_axes(array_shape(equation.inputs[operand]), shape),
        sizes={f"axis{number}": length for number, length in enumerate(shape)},
        factor=factor,
    )
