"""Printers of random bits; their keys are arrays of a dtype that only JAX knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, call
from ntkplan.emit.primitives.context import Context, Printer
from ntkplan.emit.primitives.parameters import check_known
from ntkplan.emit.primitives.value import Value, aval_of, exact, integers, whole
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
    if seed.full_shape != () or np.dtype(seed.dtype).itemsize > 4:
        raise NotPrintableError(
            primitive=equation.primitive.name, reason="its seed is not one integer"
        )
    implementation = equation.parameters["impl"].name
    expression = call("jax.random.key", exact(seed), impl=f'"{implementation}"')
    return whole(expression, aval_of(equation.outputs[0]))


PRINTERS: dict[Primitive, Printer] = {
    primitives.random_bits_p: _bits,
    primitives.random_split_p: _split,
    primitives.random_fold_in_p: _fold_in,
    primitives.random_seed_p: _seed,
}

# JAX exports no object for these two.
PRINTERS_BY_NAME: dict[str, Printer] = {
    "random_wrap": _wrap,
    "random_unwrap": _unwrap,
}
