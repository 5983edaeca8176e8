"""Equation parameters as arguments: what is default is left out, the rest is text."""

from __future__ import annotations

import enum
import re
from typing import Any

import numpy as np
from jax import lax
from jax.sharding import NamedSharding

from ntkplan.emit.expression import Expression, atom, sequence
from ntkplan.emit.primitives.value import aval_of, dtype_text, integers, number_text
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation


def check_known(equation: Equation, *known: str) -> None:
    """Refuses an equation that says more than its printer knows how to print.

    Args:
        equation: The equation.
        *known: Parameters that the printer prints, or that change nothing. Others
            may be there as long as they are unset: None, False or empty.

    Raises:
        NotPrintableError: Another parameter is set.
    """
    for name, value in equation.parameters.items():
        if name not in known and not _is_unset(value):
            raise NotPrintableError(
                primitive=equation.primitive.name,
                reason=f"{name}={value} has no source",
            )


def _is_unset(value: Any) -> bool:
    """Whether a value is None, False, empty, or a sharding over no devices.

    Transposition leaves such shardings behind.
    """
    if isinstance(value, NamedSharding):
        return value.mesh.empty
    return value is None or value is False or (isinstance(value, tuple) and not value)


def enum_text(equation: Equation, value: enum.Enum) -> str:
    """A member of one of `jax.lax`'s enumerations.

    Raises:
        NotPrintableError: It is of another enumeration.
    """
    kind = type(value).__name__
    if getattr(lax, kind, None) is not type(value):
        raise NotPrintableError(
            primitive=equation.primitive.name, reason=f"{value!r} is not public"
        )
    return f"lax.{kind}.{value.name}"


def precision_keywords(equation: Equation) -> dict[str, Expression]:
    """A contraction's `precision` and `preferred_element_type`, where they are set."""
    keywords: dict[str, Expression] = {}
    precision = equation.parameters["precision"]
    if isinstance(precision, tuple) and len(set(precision)) == 1:
        precision = precision[0]
    if isinstance(precision, tuple):
        keywords["precision"] = sequence(
            [enum_text(equation, item) for item in precision]
        )
    elif isinstance(precision, enum.Enum):
        # Also where it is the default one: what the user set holds in every context.
        keywords["precision"] = atom(f'"{precision.name.lower()}"')
    elif precision is not None:
        raise NotPrintableError(
            primitive=equation.primitive.name, reason=f"precision {precision!r}"
        )
    preferred = equation.parameters["preferred_element_type"]
    dtypes = {np.dtype(aval_of(operand).dtype) for operand in equation.inputs}
    if preferred is not None and dtypes != {np.dtype(preferred)}:
        keywords["preferred_element_type"] = atom(dtype_text(preferred))
    return keywords


def flags(parameters: dict[str, Any], **defaults: Any) -> dict[str, Expression]:
    """Keywords for the parameters that are not what they are by default."""
    return {
        name: literal(parameters[name])
        for name, default in defaults.items()
        if name in parameters and parameters[name] != default
    }


def literal(value: Any) -> Expression:
    """A static parameter: None, a boolean, a string, a number or some integers."""
    if isinstance(value, str):
        return atom(f'"{value}"')
    if isinstance(value, tuple | list):
        return integers(value)
    if isinstance(value, float):
        return atom(number_text(np.float64(value)))
    return atom(repr(value))


def stable_text(value: Any) -> str:
    """Text that is the same in every trace: no addresses, and no kinds of integers.

    >>> import numpy as np
    >>> stable_text({"axes": (np.int64(1),)})
    "{'axes': (1,)}"
    """
    text = re.sub(r"np\.int\d+\((-?\d+)\)", r"\1", str(value))
    return re.sub(r"0x[0-9a-f]+", "", text)
