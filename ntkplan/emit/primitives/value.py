"""What prints for a variable: an expression, and how its array relates to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkplan._jax import Literal
from ntkplan.emit.expression import Expression, atom, call, negative, sequence
from ntkplan.ir.equation import Atom

Shape = tuple[int, ...]
_INT32 = np.iinfo(np.int32)
_NAMED_NUMBERS = {"inf": "jnp.inf", "-inf": "-jnp.inf", "nan": "jnp.nan"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Value:
    """An expression that stands for a variable.

    The expression may be smaller than the variable where numpy's broadcasting makes
    up the difference: its shape is then `()`, or has the variable's rank with ones.

    Attributes:
        expression: The text.
        shape: What the expression has.
        full_shape: What the variable has.
        dtype: Of both, exactly; a `number` has it only beside an array of it.
        number: The value where the expression is a bare Python number.
        cheap: Whether it may be printed at every use: a name, a number, an axis
            inserted into one.
        with_kept_axes: For a reduction: the axes that it removes, and the expression
            that keeps them as ones.
        transposed: For a contraction: the expression with its axes permuted.
        squeezed: For a slice: the expression without the given axes, or None.
        condition: For a boolean cast to an integer: the boolean.
        inserted: For axes of size one put in by an index: the value without them, and
            which axes are its own.
    """

    expression: Expression
    shape: Shape
    full_shape: Shape
    dtype: Any
    number: Any = None
    cheap: bool = False
    with_kept_axes: tuple[tuple[int, ...], Expression] | None = None
    transposed: Callable[[tuple[int, ...]], Expression] | None = None
    squeezed: Callable[[tuple[int, ...]], Expression | None] | None = None
    condition: Value | None = None
    inserted: tuple[Value, tuple[bool, ...]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An expression of several values.

    Attributes:
        expression: The text.
        target: What to assign to, from the outputs' names in order.
    """

    expression: Expression
    target: Callable[[Sequence[str]], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """Statements that define several values.

    Attributes:
        lines: Makes them from the values' names in order.
        expression: Stands for them where expressions are measured.
        names: Names that the values have, where they are those of others; else empty.
    """

    lines: Callable[[Sequence[str]], list[str]]
    expression: Expression
    names: tuple[str, ...] = ()


def aval_of(item: Atom) -> Any:
    """The shape and dtype of a variable or a literal."""
    return item.aval


def array_value(text: str, aval: Any) -> Value:
    """The value of a name that holds exactly an array of the given aval."""
    return Value(
        expression=atom(text),
        shape=aval.shape,
        full_shape=aval.shape,
        dtype=aval.dtype,
        cheap=True,
    )


def whole(expression: Expression, aval: Any) -> Value:
    """The value of an expression that has exactly the shape of the given aval."""
    return Value(
        expression=expression, shape=aval.shape, full_shape=aval.shape, dtype=aval.dtype
    )


def number_value(number: Any, dtype: Any, full_shape: Shape) -> Value:
    """The value of a number, broadcast to a shape.

    Args:
        number: A numpy or Python number.
        dtype: What the variable has.
        full_shape: What the variable has.
    """
    exact = np.asarray(number).astype(dtype)[()]
    bare = _bare_number(exact)
    if bare is None:
        expression = _typed_number(exact)
        exact = None
    else:
        expression = bare
    return Value(
        expression=expression,
        shape=(),
        full_shape=full_shape,
        dtype=np.dtype(dtype),
        number=exact,
        cheap=True,
    )


def literal_value(literal: Literal) -> Value:
    """The value of a literal."""
    aval = aval_of(literal)
    return number_value(literal.val, aval.dtype, aval.shape)


def number_text(number: Any) -> str:
    """The shortest Python number that converts to exactly this one.

    >>> number_text(np.float32(0.1)), number_text(np.float32(2))
    ('0.1', '2.0')
    >>> number_text(np.float32(-1e9))
    '-1e09'
    >>> number_text(np.int32(-3)), number_text(np.bool_(True))
    ('-3', 'True')
    """
    if jnp.issubdtype(number.dtype, np.bool_):
        return str(bool(number))
    if jnp.issubdtype(number.dtype, np.integer):
        return str(int(number))
    text = str(float(number)).replace("e+", "e")
    if text in _NAMED_NUMBERS:
        return _NAMED_NUMBERS[text]
    make = number.dtype.type
    if number.dtype.itemsize > 4:
        return text
    for shorter in (str(number), str(np.float32(number))):
        # A Python float passes through float32 on its way to a narrower type.
        if make(float(shorter)) == number == make(np.float32(shorter)):
            return shorter.replace("e+", "e")
    return text


def _bare_number(number: Any) -> Expression | None:
    """A Python number that an array of the dtype turns into this one, if there is."""
    kind = number.dtype
    if jnp.issubdtype(kind, np.integer):
        if not _INT32.min <= int(number) <= _INT32.max or "int4" in kind.name:
            return None
    elif not jnp.issubdtype(kind, np.bool_) and kind.name not in (
        "float16",
        "bfloat16",
        "float32",
        "float64",
    ):
        return None
    text = number_text(number)
    return negative(text) if text.startswith("-") else atom(text)


def _typed_number(number: Any) -> Expression:
    if jnp.issubdtype(number.dtype, np.complexfloating):
        parts = [atom(number_text(part)) for part in (number.real, number.imag)]
        return call(dtype_text(number.dtype), call("complex", *parts))
    text = number_text(number)
    return call(dtype_text(number.dtype), atom(text))


def dtype_text(dtype: Any) -> str:
    """The name of a dtype, as source: `jnp.float32`."""
    name = np.dtype(dtype).name
    name = "bool_" if name == "bool" else name
    return f"jnp.{name}" if hasattr(jnp, name) else f'jnp.dtype("{name}")'


def typed(value: Value) -> Expression:
    """The expression as an array of the exact dtype, maybe still to be broadcast."""
    if value.number is None:
        return value.expression
    return _typed_number(value.number)


def exact(value: Value) -> Expression:
    """The expression as an array of exactly the variable's dtype and shape."""
    if value.shape == value.full_shape:
        return typed(value)
    shape = integers(value.full_shape)
    if value.number is None:
        return call("jnp.broadcast_to", value.expression, shape)
    dtype = dtype_text(value.dtype)
    if value.number == 1:
        return call("jnp.ones", shape, dtype=dtype)
    if is_zero(value):
        return call("jnp.zeros", shape, dtype=dtype)
    return call("jnp.full", shape, value.expression, dtype=dtype)


def is_zero(value: Value) -> bool:
    """Whether a value is the number zero, and not minus zero."""
    number = value.number
    return number is not None and number == 0 and not np.signbit(np.float64(number))


def integers(numbers: Sequence[Any]) -> Expression:
    """A tuple of integers, nested ones too: `(1, 2)`."""
    return sequence(
        [
            integers(item) if isinstance(item, tuple | list) else str(int(item))
            for item in numbers
        ]
    )


def axes_text(axes: Sequence[int], rank: int) -> str:
    """Axes as an argument: `-1` for the last one, `1`, or `(1, 2)`.

    >>> axes_text((1,), 2), axes_text((0,), 2), axes_text((0, 1), 3)
    ('-1', '0', '(0, 1)')
    """
    if len(axes) != 1:
        return integers(axes).text
    axis = int(axes[0])
    return "-1" if axis == rank - 1 and axis > 0 else str(axis)
