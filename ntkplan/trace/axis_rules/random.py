"""Axis rules of random numbers whose distribution depends on the data."""

from __future__ import annotations

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Outcome,
    Unclear,
    named,
    shape_of,
)


def random_gamma(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Draws for the axes of the keys each by itself, for others by place."""
    if factor.position < len(shape_of(equation.inputs[0])):
        return factor
    return Unclear(why="what an example draws depends on its place in the batch")


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    return [(named(["random_gamma"])[0], random_gamma)]
