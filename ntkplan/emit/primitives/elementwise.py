"""Printers of elementwise primitives: operators, functions, comparisons, casts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, binary, call, method, prefixed
from ntkplan.emit.primitives.context import Context, Printer, Result
from ntkplan.emit.primitives.folding import negated, simplified
from ntkplan.emit.primitives.parameters import check_known, enum_text
from ntkplan.emit.primitives.shape import without_leading_ones
from ntkplan.emit.primitives.value import (
    Value,
    aval_of,
    dtype_text,
    exact,
    number_value,
    typed,
    whole,
)
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation

_FLOATS = (np.inexact,)
_NUMBERS = (np.inexact, np.integer)


def combine(equation: Equation, expression: Expression, shapes: list[tuple]) -> Value:
    """The value of an elementwise operation on expressions of the given shapes."""
    aval = aval_of(equation.outputs[0])
    return Value(
        expression=expression,
        shape=np.broadcast_shapes(*shapes),
        full_shape=aval.shape,
        dtype=aval.dtype,
    )


def broadcasting(operands: Sequence[Value]) -> list[Expression]:
    """Operands for a function that broadcasts and promotes as numpy does.

    At least one is an array, so that bare numbers among the others take its dtype.
    """
    if all(operand.number is not None for operand in operands):
        return [typed(operands[0]), *(item.expression for item in operands[1:])]
    stretching = any(
        operand.inserted is None and len(operand.shape) == len(operand.full_shape)
        for operand in operands
    )
    return [
        without_leading_ones(operand) if stretching else operand.expression
        for operand in operands
    ]


def strict(operands: Sequence[Value]) -> tuple[list[Expression], list[tuple]]:
    """Operands, and their shapes, for a function of `jax.lax`.

    Those take arrays of one dtype and shape, or scalars.
    """
    shapes = {operand.shape for operand in operands if operand.shape != ()}
    if len(shapes) <= 1 and operands[0].shape in shapes:
        return [typed(item) for item in operands], [item.shape for item in operands]
    return [exact(item) for item in operands], [item.full_shape for item in operands]


def _operator(symbol: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation)
        simpler = simplified(symbol, operands, aval_of(equation.outputs[0]))
        if simpler is not None:
            return simpler
        left, right = broadcasting(operands)
        shapes = [operand.shape for operand in operands]
        return combine(equation, binary(symbol, left, right), shapes)

    return write


def _function(name: str, *ignored: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, *ignored)
        shapes = [operand.shape for operand in operands]
        return combine(equation, call(name, *broadcasting(operands)), shapes)

    return write


def _lax_function(name: str, *ignored: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, *ignored)
        arguments, shapes = strict(operands)
        return combine(equation, call(f"lax.{name}", *arguments), shapes)

    return write


def _and(equation: Equation, operands: Sequence[Value], context: Context) -> Result:
    for one, other in (operands, operands[::-1]):
        sure = one.number is not None and one.dtype == np.bool_ and bool(one.number)
        if sure and other.shape == other.full_shape:
            return other
    return _operator("&")(equation, operands, context)


def _of_floats(name: str, plain: str) -> Printer:
    """A function of numpy's for real numbers, one of `jax.lax` for other dtypes."""
    function, lax_function = _function(f"jnp.{name}"), _lax_function(plain)

    def write(equation: Equation, operands: Sequence[Value], context: Context):
        real = all(jnp.issubdtype(item.dtype, np.floating) for item in operands)
        return (function if real else lax_function)(equation, operands, context)

    return write


def _shift(symbol: str, kind: type, otherwise: str) -> Printer:
    """A shift as an operator, where numpy's is this one for the dtype."""
    operator, function = _operator(symbol), _lax_function(otherwise)

    def write(equation: Equation, operands: Sequence[Value], context: Context):
        plain = all(jnp.issubdtype(item.dtype, kind) for item in operands)
        return (operator if plain else function)(equation, operands, context)

    return write


def _by_dtype(symbol: str, *kinds: type, otherwise: str) -> Printer:
    """An operator for some dtypes, a function of `jax.lax` for the others."""
    operator, function = _operator(symbol), _lax_function(otherwise)

    def write(equation: Equation, operands: Sequence[Value], context: Context):
        dtypes = {operand.dtype for operand in operands}
        plain = all(any(jnp.issubdtype(d, kind) for kind in kinds) for d in dtypes)
        return (operator if plain else function)(equation, operands, context)

    return write


def _prefix(symbol: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        (operand,) = operands
        number = negated(operand) if symbol == "-" else None
        if number is not None:
            return number
        expression = prefixed(symbol, typed(operand))
        return combine(equation, expression, [operand.shape])

    return write


def _integer_pow(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    (operand,) = operands
    power = equation.parameters["y"]
    if jnp.issubdtype(operand.dtype, np.inexact):
        exponent = atom(str(power)) if power >= 0 else prefixed("-", atom(str(-power)))
        expression = binary("**", typed(operand), exponent)
    else:
        expression = call("lax.integer_pow", typed(operand), atom(str(power)))
    return combine(equation, expression, [operand.shape])


def _power(equation: Equation, operands: Sequence[Value], context: Context) -> Result:
    """`x**y`, where numpy's power is sure to be this primitive."""
    base, exponent = operands
    floats = all(jnp.issubdtype(item.dtype, np.floating) for item in operands)
    special = exponent.number is not None and float(exponent.number).is_integer()
    numbers = base.number is not None and exponent.number is not None
    plain = floats and not numbers and not special
    write = _operator("**") if plain else _lax_function("pow")
    return write(equation, operands, context)


def _round(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "rounding_method")
    way = equation.parameters["rounding_method"]
    even = way is lax.RoundingMethod.TO_NEAREST_EVEN
    if even and operands[0].dtype in (np.float32, np.float64):
        expression = call("jnp.round", typed(operands[0]))
    else:
        arguments = [typed(operands[0]), atom(enum_text(equation, way))]
        expression = call("lax.round", *arguments)
    return combine(equation, expression, [operands[0].shape])


def _reduce_precision(equation: Equation, operands: Sequence[Value], _: Context):
    bits = {
        name: str(equation.parameters[name])
        for name in ("exponent_bits", "mantissa_bits")
    }
    expression = call("lax.reduce_precision", typed(operands[0]), **bits)
    return combine(equation, expression, [operands[0].shape])


def _select(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    which, *cases = operands
    if len(cases) == 2 and which.dtype == np.bool_:
        if which.number is not None and which.shape == ():
            case = cases[int(which.number)]
            if case.shape in ((), case.full_shape):
                return case
        yes, no = broadcasting(cases[::-1])
        full = any(
            item.inserted is None and len(item.shape) == len(item.full_shape)
            for item in cases
        )
        condition = without_leading_ones(which) if full else typed(which)
        expression = call("jnp.where", condition, yes, no)
        return combine(equation, expression, [item.shape for item in operands])
    scalar = which.full_shape == ()
    arguments = [typed(which) if scalar else exact(which), *map(exact, cases)]
    return whole(call("lax.select_n", *arguments), aval_of(equation.outputs[0]))


def _clamp(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    low, middle, high = operands
    bounds = [typed(item) if item.shape == () else exact(item) for item in (low, high)]
    expression = call("lax.clamp", bounds[0], exact(middle), bounds[1])
    return whole(expression, aval_of(equation.outputs[0]))


def _convert(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    (operand,) = operands
    check_known(equation, "new_dtype", "weak_type")
    old, new = np.dtype(operand.dtype), np.dtype(equation.parameters["new_dtype"])
    if old == new:
        return operand
    if operand.number is not None and _converts_exactly(operand.number, new):
        return number_value(operand.number, new, operand.full_shape)
    plain = all(
        jnp.issubdtype(kind, np.floating) or jnp.issubdtype(kind, np.integer)
        for kind in (old, new)
    ) or (old == np.bool_ and not jnp.issubdtype(new, np.complexfloating))
    dtype = atom(dtype_text(new))
    expression = (
        method(typed(operand), "astype", dtype)
        if plain
        else call("lax.convert_element_type", typed(operand), dtype)
    )
    value = combine(equation, expression, [operand.shape])
    return dataclasses.replace(value, condition=operand if old == np.bool_ else None)


def _converts_exactly(number: Any, new: np.dtype) -> bool:
    """Whether a number is exact in a dtype, so that it may be written in it."""
    if not any(jnp.issubdtype(new, kind) for kind in _NUMBERS):
        return False
    if np.iscomplexobj(number) and not jnp.issubdtype(new, np.complexfloating):
        return False
    converted = np.asarray(number).astype(new)
    real = converted if np.iscomplexobj(number) else np.real(converted)
    back = real.astype(number.dtype)
    return bool(np.isfinite(converted)) and back.tobytes() == number.tobytes()


def _alias(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    return operands[0]


def _device_put(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    if len(operands) != 1 or any(
        item is not None
        for name in ("devices", "srcs")
        for item in equation.parameters.get(name, ())
    ):
        raise NotPrintableError(primitive="device_put", reason="it names a device")
    return operands[0]


PRINTERS: dict[Primitive, Printer] = {
    primitives.add_p: _by_dtype("+", *_NUMBERS, otherwise="add"),
    primitives.add_jaxvals_p: _by_dtype("+", *_NUMBERS, otherwise="add"),
    primitives.sub_p: _by_dtype("-", *_NUMBERS, otherwise="sub"),
    primitives.mul_p: _by_dtype("*", *_NUMBERS, otherwise="mul"),
    primitives.div_p: _by_dtype("/", *_FLOATS, otherwise="div"),
    primitives.rem_p: _lax_function("rem"),
    primitives.pow_p: _power,
    primitives.integer_pow_p: _integer_pow,
    primitives.max_p: _function("jnp.maximum"),
    primitives.min_p: _function("jnp.minimum"),
    primitives.atan2_p: _of_floats("arctan2", "atan2"),
    primitives.nextafter_p: _of_floats("nextafter", "nextafter"),
    primitives.complex_p: _lax_function("complex"),
    primitives.eq_p: _operator("=="),
    primitives.ne_p: _operator("!="),
    primitives.lt_p: _operator("<"),
    primitives.le_p: _operator("<="),
    primitives.gt_p: _operator(">"),
    primitives.ge_p: _operator(">="),
    primitives.and_p: _and,
    primitives.or_p: _operator("|"),
    primitives.xor_p: _operator("^"),
    primitives.shift_left_p: _shift("<<", np.integer, "shift_left"),
    primitives.shift_right_arithmetic_p: _shift(
        ">>", np.signedinteger, "shift_right_arithmetic"
    ),
    primitives.shift_right_logical_p: _shift(
        ">>", np.unsignedinteger, "shift_right_logical"
    ),
    primitives.neg_p: _prefix("-"),
    primitives.not_p: _prefix("~"),
    primitives.select_n_p: _select,
    primitives.clamp_p: _clamp,
    primitives.convert_element_type_p: _convert,
    primitives.round_p: _round,
    primitives.reduce_precision_p: _reduce_precision,
    primitives.stop_gradient_p: _lax_function("stop_gradient"),
    primitives.copy_p: _alias,
    primitives.device_put_p: _device_put,
    primitives.exp_p: _function("jnp.exp"),
    primitives.exp2_p: _function("jnp.exp2"),
    primitives.expm1_p: _function("jnp.expm1"),
    primitives.log_p: _function("jnp.log"),
    primitives.log1p_p: _function("jnp.log1p"),
    primitives.sqrt_p: _function("jnp.sqrt"),
    primitives.square_p: _function("jnp.square"),
    primitives.cbrt_p: _function("jnp.cbrt"),
    primitives.sin_p: _function("jnp.sin"),
    primitives.cos_p: _function("jnp.cos"),
    primitives.tan_p: _function("jnp.tan"),
    primitives.tanh_p: _function("jnp.tanh"),
    primitives.sinh_p: _function("jnp.sinh"),
    primitives.cosh_p: _function("jnp.cosh"),
    primitives.abs_p: _function("jnp.abs"),
    primitives.is_finite_p: _function("jnp.isfinite"),
    primitives.real_p: _function("jnp.real"),
    primitives.imag_p: _function("jnp.imag"),
    primitives.conj_p: _lax_function("conj", "input_dtype"),
    primitives.logistic_p: _function("jax.nn.sigmoid"),
    primitives.rsqrt_p: _lax_function("rsqrt"),
    primitives.sign_p: _of_floats("sign", "sign"),
    primitives.floor_p: _of_floats("floor", "floor"),
    primitives.ceil_p: _of_floats("ceil", "ceil"),
    primitives.asin_p: _of_floats("arcsin", "asin"),
    primitives.acos_p: _of_floats("arccos", "acos"),
    primitives.atan_p: _of_floats("arctan", "atan"),
    primitives.asinh_p: _of_floats("arcsinh", "asinh"),
    primitives.acosh_p: _of_floats("arccosh", "acosh"),
    primitives.atanh_p: _of_floats("arctanh", "atanh"),
    primitives.erf_p: _lax_function("erf"),
    primitives.erfc_p: _lax_function("erfc"),
    primitives.erf_inv_p: _lax_function("erf_inv"),
    primitives.lgamma_p: _lax_function("lgamma"),
    primitives.digamma_p: _lax_function("digamma"),
    primitives.polygamma_p: _lax_function("polygamma"),
    primitives.zeta_p: _lax_function("zeta"),
    primitives.igamma_p: _lax_function("igamma"),
    primitives.igammac_p: _lax_function("igammac"),
    primitives.igamma_grad_a_p: _lax_function("igamma_grad_a"),
    primitives.regularized_incomplete_beta_p: _lax_function("betainc"),
    primitives.bessel_i0e_p: _lax_function("bessel_i0e"),
    primitives.bessel_i1e_p: _lax_function("bessel_i1e"),
    primitives.population_count_p: _lax_function("population_count"),
    primitives.clz_p: _lax_function("clz"),
}

# The name that a rematerialisation policy knows a value by, and the upper half of a
# product; not every supported JAX exports objects for them.
PRINTERS_BY_NAME: dict[str, Printer] = {
    "name": _alias,
    "mulhi": _lax_function("mulhi"),
}
