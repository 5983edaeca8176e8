"""Operations on numbers, and those that change nothing, need not be printed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkplan.emit.primitives.value import Value, number_value

# Those whose result is rounded alike on every device, if it is rounded at all.
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SIGNED = ("float32", "float64", "int32", "int64")
_EXACT = (*_SIGNED, "bool")


def simplified(symbol: str, operands: Sequence[Value], aval: Any) -> Value | None:
    """The value of an operation that is a number, or one of its operands.

    Args:
        symbol: The operator.
        operands: Both its operands.
        aval: What it results in.
    """
    left, right = operands
    if left.number is not None and right.number is not None:
        return _folded(symbol, left, right, aval)
    for value, other, is_right in ((left, right, True), (right, left, False)):
        if other.number is None or value.full_shape != aval.shape:
            continue
        if _changes_nothing(symbol, other, is_right=is_right):
            return value
        truth = value.condition
        if (symbol, other.number) == ("==", 1) and truth is not None:
            # It was a boolean before it was cast to an integer.
            return truth if truth.full_shape == aval.shape else None
    return None


def negated(operand: Value) -> Value | None:
    """The value of a number with the other sign, or None where it is no number."""
    if operand.number is None or np.dtype(operand.dtype).name not in _SIGNED:
        return None
    return number_value(-operand.number, operand.dtype, operand.full_shape)


def _folded(symbol: str, left: Value, right: Value, aval: Any) -> Value | None:
    compute = _OPERATIONS.get(symbol)
    if compute is None or np.dtype(left.dtype).name not in _EXACT:
        return None
    if left.dtype == np.bool_ and symbol in "+-*":
        return None
    with np.errstate(all="ignore"):
        result = np.asarray(compute(left.number, right.number))
    if np.isfinite(result) and not _is_subnormal(result):
        return number_value(result, aval.dtype, aval.shape)
    return None


def _is_subnormal(number: np.ndarray) -> bool:
    """Whether a device may round a number to zero."""
    if not jnp.issubdtype(number.dtype, np.floating) or number == 0:
        return False
    return bool(abs(number) < np.finfo(number.dtype).tiny)


def _changes_nothing(symbol: str, other: Value, *, is_right: bool) -> bool:
    """Whether an operation with a number gives the other operand, bit by bit."""
    number = other.number
    if other.dtype == np.bool_:
        return (symbol == "!=" and not number) or (symbol == "==" and bool(number))
    if symbol == "*":
        return bool(number == 1)
    if symbol == "/":
        return is_right and bool(number == 1)
    if jnp.issubdtype(other.dtype, np.integer):
        added = symbol == "+" or (symbol == "-" and is_right)
        return added and bool(number == 0)
    # A float's sign of zero is kept by `x - 0.0`, and lost by `x + 0.0`.
    positive = number == 0 and not np.signbit(np.float64(np.real(number)))
    return symbol == "-" and is_right and bool(positive)
