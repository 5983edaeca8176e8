"""Derivatives of equations that are the same number whatever they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax
import numpy

from ntkplan._jax import (
    Literal,
    Primitive,
    array_dtype,
    array_shape,
    primitives,
)
from ntkplan.ir.equation import Atom
from ntkplan.ir.graph import Flow

_PASSED_ON: frozenset[Primitive] = frozenset(
    {
        primitives.add_p,
        primitives.add_jaxvals_p,
        primitives.convert_element_type_p,
        primitives.copy_p,
    }
)
"""Primitives that pass derivatives on as they are."""

_OF_NUMBERS: Mapping[Primitive, Callable[..., float]] = {
    primitives.convert_element_type_p: numpy.positive,
    primitives.div_p: numpy.divide,
    primitives.mul_p: numpy.multiply,
    primitives.neg_p: numpy.negative,
    primitives.sqrt_p: numpy.sqrt,
}
"""What scalings are computed with, such as `1 / jnp.sqrt(width)`."""


def constant_slope(flow: Flow, number: int, operand: int) -> float | None:
    """Returns an equation's derivative where it is a number.

    Args:
        flow: The body that the equation is in.
        number: Of the equation.
        operand: The operand that it is derived by; no other depends on that.
    """
    equation = flow.body.equations[number]
    primitive = equation.primitive
    if primitive in _PASSED_ON:
        return 1.0
    if primitive is primitives.neg_p:
        return -1.0
    if primitive is primitives.sub_p:
        return -1.0 if operand else 1.0
    if primitive is primitives.mul_p:
        return _number(flow, equation.inputs[1 - operand])
    if primitive is primitives.div_p and operand == 0:
        divisor = _number(flow, equation.inputs[1])
        return 1.0 / divisor if divisor else None
    return None


def _number(flow: Flow, atom: Atom) -> float | None:
    """Returns what is known of a real scalar when the model is traced."""
    if array_shape(atom) or _is_complex(atom):
        return None
    if isinstance(atom, Literal):
        return float(atom.val)
    for constant, value in flow.body.constants:
        if constant is atom:
            return float(value)
    made_by = flow.definition(atom)
    if made_by is None or not jax.numpy.issubdtype(array_dtype(atom), numpy.floating):
        return None
    equation = flow.body.equations[made_by]
    function = _OF_NUMBERS.get(equation.primitive)
    known = [_number(flow, item) for item in equation.inputs]
    if function is None or None in known:
        return None
    with numpy.errstate(all="ignore"):
        value = float(function(*known))
    return value if math.isfinite(value) else None


def _is_complex(atom: Atom) -> bool:
    return bool(jax.numpy.issubdtype(array_dtype(atom), numpy.complexfloating))
