"""Printers of random bits; their keys are arrays of a dtype that only JAX knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, call, method
from ntkplan.emit.primitives.context import Context, Printer, tuple_target
from ntkplan.emit.primitives.parameters import check_known, enum_text
from ntkplan.emit.primitives.value import (
    Unpacked,
    Value,
    aval_of,
    dtype_text,
    exact,
    integers,
    whole,
)
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation


def _one_key(equation: Equation, operand: Value) -> Expression:
    """A key, which `jax.random` takes one at a time."""
    if operand.full_shape != ():
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="it takes several keys at once"
        )
    return exact(operand)


def _bits(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "bit_width", "shape")
    key = _one_key(equation, operands[0])
    shape = integers(equation.parameters["shape"])
    dtype = f"jnp.uint{int(equation.parameters['bit_width'])}"
    expression = call("jax.random.bits", key, shape, atom(dtype))
    return whole(expression, aval_of(equation.outputs[0]))


def _split(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "shape")
    key = _one_key(equation, operands[0])
    shape = integers(equation.parameters["shape"])
    expression = call("jax.random.split", key, shape)
    return whole(expression, aval_of(equation.outputs[0]))


def _fold_in(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation)
    key, data = operands
    if data.full_shape != ():
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="it takes several numbers at once"
        )
    text = data.expression if data.number is not None else exact(data)
    expression = call("jax.random.fold_in", _one_key(equation, key), text)
    return whole(expression, aval_of(equation.outputs[0]))


def _unwrap(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation)
    expression = call("jax.random.key_data", exact(operands[0]))
    return whole(expression, aval_of(equation.outputs[0]))


def _wrap(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "impl")
    implementation = equation.parameters["impl"].name
    expression = call(
        "jax.random.wrap_key_data", exact(operands[0]), impl=f'"{implementation}"'
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _seed(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "impl")
    (seed,) = operands
    text = exact(seed)
    if seed.number is not None and np.dtype(seed.dtype).itemsize > 4:
        # As a bare number it is the same seed with and without 64 bits.
        number = int(seed.number)
        small = 0 <= number <= np.iinfo(np.int32).max
        text = atom(str(number)) if small else None
    if seed.full_shape != () or text is None:
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="its seed is not one integer"
        )
    implementation = equation.parameters["impl"].name
    expression = call("jax.random.key", text, impl=f'"{implementation}"')
    return whole(expression, aval_of(equation.outputs[0]))


def _gamma(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "log_space")
    key, shape = operands
    # A key for each of one example is that key; more have no public function.
    if any(length != 1 for length in key.full_shape):
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="it takes several keys at once"
        )
    one = exact(key) if key.full_shape == () else method(exact(key), "reshape", "()")
    name = "loggamma" if equation.parameters["log_space"] else "gamma"
    dtype = dtype_text(shape.dtype)
    expression = call(f"jax.random.{name}", one, exact(shape), dtype=dtype)
    return whole(expression, aval_of(equation.outputs[0]))


def _bit_generator(
    equation: Equation, operands: Sequence[Value], _: Context
) -> Unpacked:
    check_known(equation, "shape", "dtype", "algorithm")
    parameters = equation.parameters
    expression = call(
        "lax.rng_bit_generator",
        exact(operands[0]),
        integers(parameters["shape"]),
        dtype=dtype_text(parameters["dtype"]),
        algorithm=enum_text(equation, parameters["algorithm"]),
    )
    return Unpacked(expression=expression, target=tuple_target)


PRINTERS: dict[Primitive, Printer] = {
    primitives.random_bits_p: _bits,
    primitives.random_split_p: _split,
    primitives.random_fold_in_p: _fold_in,
    primitives.random_seed_p: _seed,
    primitives.random_gamma_p: _gamma,
    primitives.rng_bit_generator_p: _bit_generator,
}

# JAX exports no object for these two.
PRINTERS_BY_NAME: dict[str, Printer] = {
    "random_wrap": _wrap,
    "random_unwrap": _unwrap,
}
