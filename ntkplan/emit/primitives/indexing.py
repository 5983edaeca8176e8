"""Printers of gathers, scatters and dynamic slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, call, sequence
from ntkplan.emit.primitives.context import Context, Printer
from ntkplan.emit.primitives.parameters import check_known, enum_text, flags, literal
from ntkplan.emit.primitives.value import Value, aval_of, exact, integers, whole
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation

_NO_BATCHING = (
    "operand_batching_dims",
    "start_indices_batching_dims",
    "scatter_indices_batching_dims",
)


def _dimension_numbers(kind: str, numbers: Any) -> Expression:
    """The dimension numbers of a gather or a scatter, without empty batching axes."""
    fields = {
        name: tuple(getattr(numbers, name))
        for name in type(numbers)._fields
        if name not in _NO_BATCHING or getattr(numbers, name)
    }
    return call(
        f"lax.{kind}", **{name: integers(axes) for name, axes in fields.items()}
    )


def _gather(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    parameters = equation.parameters
    check_known(
        equation,
        "dimension_numbers",
        "slice_sizes",
        "indices_are_sorted",
        "unique_indices",
        "mode",
        "fill_value",
    )
    keywords = flags(parameters, indices_are_sorted=False, unique_indices=False)
    mode = parameters["mode"]
    if mode is not None:
        keywords["mode"] = atom(enum_text(equation, mode))
    if parameters["fill_value"] is not None:
        keywords["fill_value"] = literal(parameters["fill_value"])
    expression = call(
        "lax.gather",
        exact(operands[0]),
        exact(operands[1]),
        _dimension_numbers("GatherDimensionNumbers", parameters["dimension_numbers"]),
        integers(parameters["slice_sizes"]),
        **keywords,
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _scatter(name: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        parameters = equation.parameters
        if parameters.get("update_consts"):
            raise NotPrintableError(
                primitive=equation.primitive.name, reason="its update has constants"
            )
        keywords = flags(parameters, indices_are_sorted=False, unique_indices=False)
        mode = parameters["mode"]
        if mode is not None:
            keywords["mode"] = atom(enum_text(equation, mode))
        numbers = parameters["dimension_numbers"]
        expression = call(
            f"lax.{name}",
            *(exact(operand) for operand in operands),
            _dimension_numbers("ScatterDimensionNumbers", numbers),
            **keywords,
        )
        return whole(expression, aval_of(equation.outputs[0]))

    return write


def _starts(operands: Sequence[Value]) -> Expression:
    """Start indices, which JAX takes as bare numbers or as scalars of any dtype."""
    return sequence(
        [
            item.expression if item.number is not None else exact(item)
            for item in operands
        ]
    )


def _dynamic_slice(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "slice_sizes")
    expression = call(
        "lax.dynamic_slice",
        exact(operands[0]),
        _starts(operands[1:]),
        integers(equation.parameters["slice_sizes"]),
        **_negative(operands[1:]),
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _dynamic_update_slice(
    equation: Equation, operands: Sequence[Value], _: Context
) -> Value:
    check_known(equation)
    expression = call(
        "lax.dynamic_update_slice",
        exact(operands[0]),
        exact(operands[1]),
        _starts(operands[2:]),
        **_negative(operands[2:]),
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _negative(starts: Sequence[Value]) -> dict[str, Expression]:
    """The primitive clamps a negative start; the function counts from the end."""
    if all(start.number is not None and start.number >= 0 for start in starts):
        return {}
    return {"allow_negative_indices": atom("False")}


PRINTERS: dict[Primitive, Printer] = {
    primitives.gather_p: _gather,
    primitives.scatter_p: _scatter("scatter"),
    primitives.scatter_add_p: _scatter("scatter_add"),
    primitives.scatter_mul_p: _scatter("scatter_mul"),
    primitives.scatter_min_p: _scatter("scatter_min"),
    primitives.scatter_max_p: _scatter("scatter_max"),
    lax.scatter_sub_p: _scatter("scatter_sub"),
    primitives.dynamic_slice_p: _dynamic_slice,
    primitives.dynamic_update_slice_p: _dynamic_update_slice,
}
