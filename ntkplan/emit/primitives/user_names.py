"""The names that the user gave to a function and its arguments, as far as JAX knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ntkplan._jax import ClosedJaxpr, Jaxpr
from ntkplan.emit.primitives.context import identifier
from ntkplan.emit.primitives.value import Value

_PLACE = re.compile(r"\[(\d+)\]")
_TAP = re.compile(r'(?:taps|shifts)\["([A-Za-z_]\w*)"\]')


def function_name(body: ClosedJaxpr | Jaxpr, default: str) -> str:
    """Returns the name of a function, or a default for a lambda.

    Args:
        body: What the function was traced to.
        default: The name of one that has none.
    """
    name = str(_debug_info(body).func_name).rsplit(".", 1)[-1].lstrip("_")
    return name if name.isidentifier() else default


def argument_names(body: ClosedJaxpr | Jaxpr) -> tuple[str, ...]:
    """Returns the names of a function's arguments, empty where it has none.

    What stands at a place of a tuple is numbered: `carry[0]` is `carry0`.
    """
    jaxpr = body.jaxpr if isinstance(body, ClosedJaxpr) else body
    count = len(jaxpr.invars)
    known = tuple(_debug_info(body).arg_names or ())
    names = [_argument_name(str(name or "")) for name in known]
    return (*names, *[""] * count)[:count]


def with_tap_names(names: Sequence[str], operands: Sequence[Value]) -> tuple[str, ...]:
    """Returns names of arguments, those that have none and are taps after their keys.

    Args:
        names: The user's, empty where there is none.
        operands: What is given for each argument.
    """
    found: list[str] = []
    for name, operand in zip(names, operands, strict=True):
        tap = _TAP.match(operand.expression.text)
        found.append(f"{tap[1]}_tap" if tap and not name else name)
    return tuple(found)


def _argument_name(path: str) -> str:
    text = _PLACE.sub(r"\1", path)
    text = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return identifier(text) if text else ""


def _debug_info(body: ClosedJaxpr | Jaxpr) -> Any:
    jaxpr = body.jaxpr if isinstance(body, ClosedJaxpr) else body
    return jaxpr.debug_info
