"""Entrywise functions: what is one, and their derivatives entry by entry."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan._jax import has_derivative, primitives
from ntkplan.rules.entrywise import ENTRYWISE, is_entrywise
from tests.rules.checks import check_labels, labels
from tests.rules.traced import Traced, numbers

positive = np.abs(numbers(3, 5)) / 4 + 0.2
signed = np.clip(numbers(3, 5) / 3, -0.9, 0.9)

UNARY = {
    primitives.abs_p: (lax.abs, signed),
    primitives.acos_p: (lax.acos, signed),
    primitives.acosh_p: (lax.acosh, positive + 1),
    primitives.asin_p: (lax.asin, signed),
    primitives.asinh_p: (lax.asinh, signed),
    primitives.atan_p: (lax.atan, signed),
    primitives.atanh_p: (lax.atanh, signed),
    primitives.bessel_i0e_p: (lax.bessel_i0e, signed),
    primitives.bessel_i1e_p: (lax.bessel_i1e, signed),
    primitives.cbrt_p: (lax.cbrt, positive),
    primitives.ceil_p: (lax.ceil, signed),
    primitives.copy_p: (lambda a: lax.copy_p.bind(a), signed),
    primitives.cos_p: (lax.cos, signed),
    primitives.cosh_p: (lax.cosh, signed),
    primitives.digamma_p: (lax.digamma, positive),
    primitives.erf_inv_p: (lax.erf_inv, signed),
    primitives.erf_p: (lax.erf, signed),
    primitives.erfc_p: (lax.erfc, signed),
    primitives.exp2_p: (lax.exp2, signed),
    primitives.exp_p: (lax.exp, signed),
    primitives.expm1_p: (lax.expm1, signed),
    primitives.floor_p: (lax.floor, signed),
    primitives.integer_pow_p: (lambda a: lax.integer_pow(a, 3), signed),
    primitives.lgamma_p: (lax.lgamma, positive),
    primitives.log1p_p: (lax.log1p, signed),
    primitives.log_p: (lax.log, positive),
    primitives.logistic_p: (lax.logistic, signed),
    primitives.neg_p: (lax.neg, signed),
    primitives.round_p: (lax.round, signed),
    primitives.rsqrt_p: (lax.rsqrt, positive),
    primitives.sign_p: (lax.sign, signed),
    primitives.sin_p: (lax.sin, signed),
    primitives.sinh_p: (lax.sinh, signed),
    primitives.sqrt_p: (lax.sqrt, positive),
    primitives.square_p: (lax.square, signed),
    primitives.tan_p: (lax.tan, signed),
    primitives.tanh_p: (lax.tanh, signed),
}

BINARY = {
    primitives.add_jaxvals_p: lambda a, b: primitives.add_jaxvals_p.bind(a, b),
    primitives.add_p: lax.add,
    primitives.atan2_p: lax.atan2,
    primitives.div_p: lax.div,
    primitives.max_p: lax.max,
    primitives.min_p: lax.min,
    primitives.mul_p: lax.mul,
    primitives.pow_p: lambda a, b: lax.pow(lax.abs(a), b),
    primitives.rem_p: lax.rem,
    primitives.sub_p: lax.sub,
}

OTHERS = {primitives.clamp_p, primitives.select_n_p, primitives.convert_element_type_p}


@pytest.mark.parametrize("primitive", UNARY, ids=str)
def test_unary(primitive):
    function, array = UNARY[primitive]
    check_labels(primitive, 0, function, array)


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("primitive", BINARY, ids=str)
def test_binary(primitive, operand):
    check_labels(primitive, operand, BINARY[primitive], signed, numbers(3, 5, seed=2))


@pytest.mark.parametrize(
    ("bounds", "operand"), [((), 1), *((((3, 5)), n) for n in range(3))]
)
def test_clamp(bounds, operand):
    low, high = np.full(bounds, -0.5), np.full(bounds, 0.5)
    check_labels(primitives.clamp_p, operand, lax.clamp, low, signed, high)


@pytest.mark.parametrize("operand", [1, 2, 3])
@pytest.mark.parametrize("chosen", [(), (3, 5)])
def test_select(operand, chosen):
    which = np.random.default_rng(0).integers(3, size=chosen).astype(np.int32)
    cases = [numbers(3, 5, seed=seed) for seed in range(3)]
    check_labels(primitives.select_n_p, operand, lax.select_n, which, *cases)


def test_cast():
    """A cast keeps its derivative, through a type of less precision as well."""

    def rounded(a):
        return a.astype(jnp.float32)

    traced = Traced(rounded, signed)
    assert is_entrywise(traced.body.equations[0], 0)


def test_every_entrywise_primitive_is_tried():
    differentiable = {
        primitive
        for primitive in ENTRYWISE
        if has_derivative(primitive) and primitive not in _BOOLEAN
    }
    assert differentiable == {*UNARY, *BINARY, *OTHERS}


_BOOLEAN = {
    primitives.and_p,
    primitives.eq_p,
    primitives.ge_p,
    primitives.gt_p,
    primitives.is_finite_p,
    primitives.le_p,
    primitives.lt_p,
    primitives.ne_p,
    primitives.not_p,
    primitives.or_p,
    primitives.xor_p,
}


@jax.custom_jvp
def softened(a, b):
    return jnp.maximum(a, b)


@softened.defjvp
def softened_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    weight = jax.nn.sigmoid(a - b)
    return softened(a, b), weight * da + (1 - weight) * db


@pytest.mark.parametrize("operand", [0, 1])
def test_custom_derivatives_are_the_users(operand):
    check_labels(
        primitives.custom_jvp_call_p, operand, softened, signed, numbers(3, 5, seed=2)
    )


@jax.custom_jvp
def moved(a):
    return a * 2.0


@moved.defjvp
def moved_jvp(primals, tangents):
    return moved(*primals), tangents[0][::-1] * 2.0


@jax.custom_jvp
def mixed(a):
    return a * a.sum()


@mixed.defjvp
def mixed_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    return mixed(a), da * a.sum()


def test_derivatives_that_move_entries_are_not_entrywise():
    assert labels(primitives.custom_jvp_call_p, 0, moved, signed) is None
    assert labels(primitives.custom_jvp_call_p, 0, mixed, signed) is None


@pytest.mark.parametrize(
    "function",
    [jnp.sort, jnp.cumsum, lambda a: a.reshape(5, 3), lambda a: a.T @ a, jnp.sum],
)
def test_what_is_not_entrywise(function):
    traced = Traced(function, signed)
    assert any(
        not is_entrywise(equation, operand)
        for equation in traced.body.equations
        for operand, atom in enumerate(equation.inputs)
        if atom is traced.body.inputs[0]
    )
