"""Equations whose result depends, entry by entry, on the same entry of an operand."""

from __future__ import annotations

from collections.abc import Collection

from ntkplan._jax import (
    JaxprEqn,
    Primitive,
    Var,
    array_shape,
    equation_tangent,
    primitives,
)
from ntkplan.ir.equation import Equation

ENTRYWISE: frozenset[Primitive] = frozenset(
    {
        primitives.abs_p,
        primitives.acos_p,
        primitives.acosh_p,
        primitives.add_jaxvals_p,
        primitives.add_p,
        primitives.and_p,
        primitives.asin_p,
        primitives.asinh_p,
        primitives.atan2_p,
        primitives.atan_p,
        primitives.atanh_p,
        primitives.bessel_i0e_p,
        primitives.bessel_i1e_p,
        primitives.cbrt_p,
        primitives.ceil_p,
        primitives.clamp_p,
        primitives.convert_element_type_p,
        primitives.copy_p,
        primitives.cos_p,
        primitives.cosh_p,
        primitives.digamma_p,
        primitives.div_p,
        primitives.eq_p,
        primitives.erf_inv_p,
        primitives.erf_p,
        primitives.erfc_p,
        primitives.exp2_p,
        primitives.exp_p,
        primitives.expm1_p,
        primitives.floor_p,
        primitives.ge_p,
        primitives.gt_p,
        primitives.integer_pow_p,
        primitives.is_finite_p,
        primitives.le_p,
        primitives.lgamma_p,
        primitives.log1p_p,
        primitives.log_p,
        primitives.logistic_p,
        primitives.lt_p,
        primitives.max_p,
        primitives.min_p,
        primitives.mul_p,
        primitives.ne_p,
        primitives.neg_p,
        primitives.not_p,
        primitives.or_p,
        primitives.pow_p,
        primitives.rem_p,
        primitives.round_p,
        primitives.rsqrt_p,
        primitives.select_n_p,
        primitives.sign_p,
        primitives.sin_p,
        primitives.sinh_p,
        primitives.sqrt_p,
        primitives.square_p,
        primitives.sub_p,
        primitives.tan_p,
        primitives.tanh_p,
        primitives.xor_p,
    }
)
"""Primitives that are entrywise in every operand."""

_INNER = {
    primitives.jit_p: "jaxpr",
    primitives.custom_jvp_call_p: "call_jaxpr",
    primitives.custom_vjp_call_p: "call_jaxpr",
}

CALLS = frozenset(_INNER)
"""Calls that are entrywise where all that they do, and their derivative, is."""


def is_entrywise(equation: Equation, operand: int) -> bool:
    """Says whether each entry of the result depends on one entry of an operand.

    For a call the derivative itself is looked at, since a user may have written it.

    Args:
        equation: An equation with one result.
        operand: Which operand. It may be stretched to the result's shape.
    """
    if len(equation.outputs) != 1:
        return False
    shape = array_shape(equation.outputs[0])
    if not _fits(array_shape(equation.inputs[operand]), shape):
        return False
    if equation.primitive in ENTRYWISE:
        return True
    if equation.primitive not in CALLS:
        return False
    closed, primal, tangent = equation_tangent(equation.origin, operand)
    return _all_entrywise(closed.jaxpr.eqns, {primal, tangent})


def _fits(operand: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if not operand:
        return True
    return len(operand) == len(shape) and all(
        size in (1, length) for size, length in zip(operand, shape, strict=True)
    )


def _all_entrywise(equations: Collection[JaxprEqn], reached: set[Var]) -> bool:
    """Follows what depends on the operand and its tangent; no entry may move."""
    for equation in equations:
        reads = {atom for atom in equation.invars if isinstance(atom, Var)}
        if reached.isdisjoint(reads):
            continue
        inner = _INNER.get(equation.primitive)
        if inner is not None:
            body = equation.params[inner]
            body = getattr(body, "jaxpr", body)
            entered = {
                variable
                for variable, atom in zip(body.invars, equation.invars, strict=True)
                if isinstance(atom, Var) and atom in reached
            }
            if not _all_entrywise(body.eqns, entered):
                return False
        elif equation.primitive not in ENTRYWISE:
            return False
        reached.update(equation.outvars)
    return True
