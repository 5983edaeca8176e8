"""Work of primitives that act on every element alone."""

from __future__ import annotations

import dataclasses

import jax

from ntkplan._jax import Primitive, primitives
from ntkplan.rules.work.step import TANGENT, Call, Pass, Step, WorkRule, alias


@dataclasses.dataclass(frozen=True)
class Entry:
    """Operations on one element.

    Attributes:
        flops: Additions, multiplications, comparisons.
        transcendentals: Evaluations of exp, log, tanh and the like.
        slope_flops: Operations for the derivative, given operand and result.
        slope_transcendentals: Evaluations for the derivative.
    """

    flops: int = 1
    transcendentals: int = 0
    slope_flops: int = 0
    slope_transcendentals: int = 0


_TABLE: tuple[tuple[Entry, tuple[Primitive, ...]], ...] = (
    (
        Entry(1),
        (
            primitives.mul_p,
            primitives.square_p,
            primitives.abs_p,
            primitives.select_n_p,
            primitives.sign_p,
            primitives.floor_p,
            primitives.ceil_p,
            primitives.round_p,
            primitives.is_finite_p,
            primitives.not_p,
            primitives.and_p,
            primitives.or_p,
            primitives.xor_p,
            primitives.eq_p,
            primitives.ne_p,
            primitives.lt_p,
            primitives.le_p,
            primitives.gt_p,
            primitives.ge_p,
            primitives.eq_to_p,
            primitives.le_to_p,
            primitives.lt_to_p,
            primitives.shift_left_p,
            primitives.shift_right_arithmetic_p,
            primitives.shift_right_logical_p,
            primitives.nextafter_p,
            primitives.population_count_p,
            primitives.clz_p,
            primitives.reduce_precision_p,
        ),
    ),
    (
        Entry(1, slope_flops=1),
        (primitives.max_p, primitives.min_p, primitives.rem_p),
    ),
    (Entry(2, slope_flops=2), (primitives.clamp_p,)),
    (Entry(1, slope_flops=2), (primitives.div_p,)),
    (Entry(0, 1, slope_flops=1), (primitives.exp_p, primitives.exp2_p)),
    (Entry(0, 1, slope_flops=1), (primitives.expm1_p, primitives.log_p)),
    (Entry(0, 1, slope_flops=2), (primitives.log1p_p, primitives.tanh_p)),
    (
        Entry(0, 1, slope_flops=2),
        (primitives.logistic_p, primitives.sqrt_p, primitives.rsqrt_p),
    ),
    (Entry(0, 1, slope_flops=3), (primitives.cbrt_p,)),
    (
        Entry(0, 1, slope_flops=1, slope_transcendentals=1),
        (
            primitives.sin_p,
            primitives.cos_p,
            primitives.sinh_p,
            primitives.cosh_p,
        ),
    ),
    (
        Entry(0, 1, slope_flops=3, slope_transcendentals=1),
        (
            primitives.asin_p,
            primitives.acos_p,
            primitives.asinh_p,
            primitives.acosh_p,
            primitives.erf_p,
            primitives.erfc_p,
            primitives.erf_inv_p,
        ),
    ),
    (Entry(0, 1, slope_flops=2), (primitives.tan_p,)),
    (Entry(0, 1, slope_flops=3), (primitives.atan_p, primitives.atanh_p)),
    (Entry(1, 1, slope_flops=4), (primitives.atan2_p,)),
    (Entry(1, 2, slope_flops=3, slope_transcendentals=2), (primitives.pow_p,)),
    (
        Entry(20, 3, slope_flops=30, slope_transcendentals=3),
        (
            primitives.lgamma_p,
            primitives.digamma_p,
            primitives.bessel_i0e_p,
            primitives.bessel_i1e_p,
        ),
    ),
    (
        Entry(200, 4, slope_flops=400, slope_transcendentals=8),
        (
            primitives.igamma_p,
            primitives.igammac_p,
            primitives.igamma_grad_a_p,
            primitives.polygamma_p,
            primitives.random_gamma_p,
            primitives.regularized_incomplete_beta_p,
            primitives.zeta_p,
        ),
    ),
)


def rules() -> dict[Primitive, WorkRule]:
    """Returns the rules of this family."""
    found = {
        primitive: _rule(entry) for entry, members in _TABLE for primitive in members
    }
    passing = WorkRule(forward=_sum, pull=_pass_on, push=_pass_on)
    found[primitives.add_p] = passing
    found[primitives.add_jaxvals_p] = passing
    found[primitives.sub_p] = WorkRule(forward=_sum, pull=_difference, push=_negated)
    linear = WorkRule(forward=_sum, pull=_negated, push=_negated)
    for primitive in (
        primitives.neg_p,
        primitives.conj_p,
        primitives.real_p,
        primitives.imag_p,
        primitives.complex_p,
    ):
        found[primitive] = linear
    found[primitives.integer_pow_p] = WorkRule(
        forward=_power, pull=_power_slope, push=_power_slope
    )
    found[primitives.convert_element_type_p] = _rule(Entry(0))
    found[primitives.copy_p] = _rule(Entry(0))
    found[primitives.stop_gradient_p] = _free()
    for primitive in (primitives.device_put_p, primitives.sharding_constraint_p):
        found[primitive] = _free()
    found[jax.lax.optimization_barrier_p] = _free()
    found[primitives.bitcast_convert_type_p] = _free()
    name = getattr(primitives, "name_p", None)
    if name is not None:
        found[name] = _free()
    return found


def _free() -> WorkRule:
    return WorkRule(
        forward=lambda call: alias(0),
        pull=lambda call, operand: alias(TANGENT),
        push=lambda call, operand: alias(TANGENT),
    )


def _rule(entry: Entry) -> WorkRule:
    def forward(call: Call) -> tuple[Step, ...]:
        return (_each(call, entry.flops, entry.transcendentals),)

    def slope(call: Call, operand: int) -> tuple[Step, ...]:
        return (_scaled_tangent(call, operand, entry),)

    return WorkRule(forward=forward, pull=slope, push=slope)


def _each(call: Call, flops: int, transcendentals: int = 0) -> Pass:
    elements = call.result.elements
    return Pass(
        reads=tuple((index, item.nbytes) for index, item in enumerate(call.inputs)),
        written_bytes=call.result.nbytes,
        flops=flops * elements,
        transcendentals=transcendentals * elements,
    )


def _scaled_tangent(call: Call, operand: int, entry: Entry) -> Pass:
    """Multiplies a tangent or cotangent with a derivative, known for each element."""
    elements = call.result.elements
    linear = entry.flops == 0 and entry.transcendentals == 0
    constant_slope = entry.slope_flops == 0 and entry.slope_transcendentals == 0
    residuals = [] if linear else list(range(len(call.inputs)))
    if constant_slope and len(residuals) > 1:
        residuals.remove(operand)
    return Pass(
        reads=(
            (TANGENT, call.result.nbytes),
            *((index, call.inputs[index].nbytes) for index in residuals),
        ),
        written_bytes=call.inputs[operand].nbytes,
        flops=0 if linear else elements,
        residual_flops=entry.slope_flops * elements,
        residual_transcendentals=entry.slope_transcendentals * elements,
    )


def _sum(call: Call) -> tuple[Step, ...]:
    return (_each(call, 1),)


def _pass_on(call: Call, operand: int) -> tuple[Step, ...]:
    return alias(TANGENT)


def _difference(call: Call, operand: int) -> tuple[Step, ...]:
    if operand == 0:
        return alias(TANGENT)
    return (_tangent_pass(call, call.result.elements),)


def _negated(call: Call, operand: int) -> tuple[Step, ...]:
    return (_tangent_pass(call, call.result.elements),)


def _tangent_pass(call: Call, flops: int) -> Pass:
    nbytes = call.result.nbytes
    return Pass(reads=((TANGENT, nbytes),), written_bytes=nbytes, flops=flops)


def _multiplications(exponent: int) -> int:
    """Returns how many products a whole power takes by squaring."""
    exponent = abs(exponent)
    return max(1, exponent.bit_length() - 1 + exponent.bit_count() - 1)


def _power(call: Call) -> tuple[Step, ...]:
    exponent = call.parameters["y"]
    return (_each(call, _multiplications(exponent) + (exponent < 0)),)


def _power_slope(call: Call, operand: int) -> tuple[Step, ...]:
    exponent = call.parameters["y"]
    entry = Entry(1, slope_flops=1 + _multiplications(exponent - 1))
    return (_scaled_tangent(call, operand, entry),)
