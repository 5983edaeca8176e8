"""Axis rules of primitives that treat every element by itself."""

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

_NAMES = (
    "abs acos acosh add add_jaxvals and asin asinh atan atan2 atanh bessel_i0e "
    "bessel_i1e cbrt ceil clamp clz complex conj convert_element_type copy cos "
    "cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma "
    "igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p "
    "logistic lt lt_to max min mul ne neg nextafter not or polygamma "
    "population_count pow real reduce_precision regularized_incomplete_beta rem "
    "round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical "
    "sharding_constraint sign sin sinh sqrt square stop_gradient sub tan tanh xor "
    "zeta"
)

_NAMES_OF_SOME_VERSIONS = ("mulhi", "name")


def elementwise(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis: operands are scalars or have the output's axes, perhaps of 1."""
    shape = shape_of(equation.outputs[0])
    rank = len(shape_of(equation.inputs[operand]))
    if rank != len(shape) or shape[factor.position] != factor.length:
        return Unclear(why="its operand has other axes than its output")
    return factor


def bitcast(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Keeps the axis; another element width adds or takes a last axis."""
    if factor.position >= len(shape_of(equation.outputs[0])):
        return Unclear(why="it joins the bytes of several examples")
    return factor


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    alike = [*named(_NAMES.split()), *named_where_present(_NAMES_OF_SOME_VERSIONS)]
    return [
        *((primitive, elementwise) for primitive in alike),
        *((primitive, bitcast) for primitive in named(["bitcast_convert_type"])),
    ]
