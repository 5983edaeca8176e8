"""The printers of all families, by primitive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ntkplan._jax import Primitive, equation_function
from ntkplan.emit.primitives import (
    contraction,
    control_flow,
    convolution,
    custom,
    elementwise,
    indexing,
    linear_algebra,
    random,
    reduction,
    shape,
)
from ntkplan.emit.primitives.context import Context, Printer, Result, refer
from ntkplan.emit.primitives.value import Value
from ntkplan.emit.reference import Reference
from ntkplan.errors import EndlessDerivativeError, InternalError, NotPrintableError
from ntkplan.ir.equation import Equation

_FAMILIES = (
    contraction,
    control_flow,
    convolution,
    custom,
    elementwise,
    indexing,
    linear_algebra,
    random,
    reduction,
    shape,
)


def assemble(*tables: dict[Any, Printer]) -> dict[Any, Printer]:
    """Joins tables of printers.

    Raises:
        InternalError: Two of them print the same primitive.
    """
    joined: dict[Any, Printer] = {}
    for table in tables:
        for primitive, printer in table.items():
            if primitive in joined:
                raise InternalError(f"two printers of `{primitive}`")
            joined[primitive] = printer
    return joined


PRINTERS: dict[Primitive, Printer] = assemble(
    *(family.PRINTERS for family in _FAMILIES)
)

# Primitives that some supported version of JAX has, but exports no object for.
PRINTERS_BY_NAME: dict[str, Printer] = assemble(
    contraction.PRINTERS_BY_NAME,
    elementwise.PRINTERS_BY_NAME,
    random.PRINTERS_BY_NAME,
)


def find(primitive: Primitive) -> Printer:
    """Returns a primitive's printer.

    Raises:
        NotPrintableError: It has none.
    """
    printer = PRINTERS.get(primitive)
    if printer is None:
        printer = PRINTERS_BY_NAME.get(primitive.name)
    if printer is None:
        raise NotPrintableError(
            primitive=primitive.name, reason="JAX has no public function for it"
        )
    return printer


def print_equation(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    """Prints an equation as source, or as a call by reference where it has none."""
    try:
        return find(equation.primitive)(equation, operands, context)
    except NotPrintableError as error:
        if isinstance(error, EndlessDerivativeError) and context.module.is_writing:
            # The outermost function of the chain is called by reference, and none
            # of the others is printed.
            raise
        function: Callable[..., Any] = equation_function(
            equation.primitive,
            equation.inputs,
            equation.outputs,
            equation.parameters,
            equation.origin,
        )
        reference = Reference(equation=equation, function=function)
        place = "" if equation.source is None else f", at {equation.source}"
        return refer(equation, operands, context, reference, f"{error.reason}{place}")
