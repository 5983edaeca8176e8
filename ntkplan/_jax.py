"""The only file that knows JAX's internals and the differences between its versions.

Everything here is checked against the lowest and the newest JAX that ntkplan supports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax._src import source_info_util
from jax._src.ad_checkpoint import remat_p
from jax._src.ad_util import stop_gradient_p
from jax._src.core import Tracer
from jax._src.interpreters import ad
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend import core
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    Primitive,
    Var,
    primitives,
)

__all__ = [
    "CALL_JAXPR_PARAMETER",
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "SourceLocation",
    "Var",
    "array_dtype",
    "array_shape",
    "array_spec",
    "call_stack",
    "close",
    "constrains_layouts",
    "enable_x64",
    "equation_function",
    "equation_tangent",
    "evaluate",
    "has_derivative",
    "is_traced",
    "new_variable",
    "primitives",
    "remat_p",
    "source_location",
    "stop_gradient_p",
    "sub_jaxprs",
    "with_leading_axis",
]

_PACKAGE = str(pathlib.Path(__file__).parent) + os.sep

# Calls whose body may be written in place of the call without changing a derivative or
# the memory that it takes. Custom derivatives and checkpoints are not among them.
CALL_JAXPR_PARAMETER: dict[Primitive, str] = {
    primitives.jit_p: "jaxpr",
    primitives.closed_call_p: "call_jaxpr",
    primitives.call_p: "call_jaxpr",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceLocation:
    """Where in the user's source an equation comes from."""

    file: str
    line: int
    function: str

    def same_function(self, other: SourceLocation) -> bool:
        """Says whether two lines are of the same function."""
        return (self.file, self.function) == (other.file, other.function)

    def __str__(self) -> str:
        """Returns `model.py:41`, with only the last part of the path."""
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"


def source_location(equation: JaxprEqn) -> SourceLocation | None:
    """Returns the user's line an equation comes from, or None where JAX kept none."""
    frame = source_info_util.user_frame(equation.source_info.traceback)
    if frame is None:
        return None
    return SourceLocation(
        file=frame.file_name, line=frame.start_line, function=frame.function_name
    )


def call_stack(equation: JaxprEqn) -> tuple[SourceLocation, ...]:
    """Returns the user's calls in which an equation was made, outermost first.

    They begin with the function that was traced: newer versions of JAX keep no more,
    with older ones ntkplan's own calls stand around it. Where JAX kept nothing there
    are none.
    """
    found: list[SourceLocation] = []
    for frame in source_info_util.user_frames(equation.source_info.traceback):
        if frame.file_name.startswith(_PACKAGE):
            break
        found.append(
            SourceLocation(
                file=frame.file_name,
                line=frame.start_line,
                function=frame.function_name,
            )
        )
    return tuple(reversed(found))


@functools.cache
def constrains_layouts() -> bool:
    """Says whether this JAX maps programs that say how arrays lie in memory."""
    constrained = jax.vmap(lambda a: with_layout_constraint(a, Layout((0,))))
    try:
        jax.eval_shape(constrained, jax.ShapeDtypeStruct((1, 1), "float32"))
    except NotImplementedError:
        return False
    return True


def new_variable(aval: Any) -> Var:
    """Returns a fresh variable of the given abstract value."""
    return Var(aval)


def evaluate(jaxpr: ClosedJaxpr, *arguments: Any) -> list[Any]:
    """Evaluates a jaxpr, traceable, custom derivatives kept."""
    return list(core.jaxpr_as_fun(jaxpr)(*arguments))


def equation_function(
    primitive: Primitive,
    inputs: Sequence[Var | Literal],
    outputs: Sequence[Var],
    parameters: dict[str, Any],
    template: JaxprEqn,
) -> Callable[..., list[Any]]:
    """Returns one equation as a function of its non-literal inputs, in their order."""
    free = list(dict.fromkeys(atom for atom in inputs if isinstance(atom, Var)))
    equation = template.replace(
        primitive=primitive,
        invars=list(inputs),
        outvars=list(outputs),
        params=parameters,
    )
    closed = one_equation_jaxpr(equation, free)

    def apply(*operands: Any) -> list[Any]:
        by_variable = dict(
            zip(
                [atom for atom in inputs if isinstance(atom, Var)],
                operands,
                strict=True,
            )
        )
        return evaluate(closed, *(by_variable[variable] for variable in free))

    return apply


def one_equation_jaxpr(equation: JaxprEqn, free: Sequence[Var]) -> ClosedJaxpr:
    """Returns the closed jaxpr that holds just one equation."""
    return close(free, (), [equation], equation.outvars)


def equation_tangent(equation: JaxprEqn, operand: int) -> tuple[ClosedJaxpr, Var, Var]:
    """Traces how an equation's results change with one operand.

    Returns:
        A jaxpr from the operands that are variables, each on its own even where one
        variable stands twice, and last the operand's tangent, to the results'
        tangents; the operand; and the tangent.
    """
    fresh = [
        atom if isinstance(atom, Literal) else Var(atom.aval)
        for atom in equation.invars
    ]
    free = [atom for atom in fresh if isinstance(atom, Var)]
    closed = one_equation_jaxpr(equation.replace(invars=fresh), free)
    position = sum(isinstance(atom, Var) for atom in fresh[:operand])

    def tangents(*arguments: Any) -> list[Any]:
        *operands, tangent = arguments

        def results(value: Any) -> list[Any]:
            changed = [*operands[:position], value, *operands[position + 1 :]]
            return evaluate(closed, *changed)

        return jax.jvp(results, (operands[position],), (tangent,))[1]

    specs = [array_spec(atom) for atom in free]
    traced = jax.make_jaxpr(tangents)(*specs, specs[position])
    inputs = traced.jaxpr.invars
    return traced, inputs[position], inputs[-1]


def close(
    inputs: Sequence[Var],
    constants: Sequence[tuple[Var, Any]],
    equations: Sequence[JaxprEqn],
    outputs: Sequence[Var | Literal],
    *,
    like: ClosedJaxpr | Jaxpr | None = None,
) -> ClosedJaxpr:
    """Returns a closed jaxpr of the given parts.

    Args:
        inputs: Its arguments.
        constants: Further variables, with their arrays.
        equations: What it computes.
        outputs: What it returns.
        like: A jaxpr from which the names of the function and of its first arguments
            are taken.
    """
    named = jax.make_jaxpr(lambda: ())() if like is None else like
    debug_info = (named.jaxpr if isinstance(named, ClosedJaxpr) else named).debug_info
    names = () if like is None else tuple(debug_info.arg_names or ())
    jaxpr = Jaxpr(
        constvars=[variable for variable, _ in constants],
        invars=list(inputs),
        outvars=list(outputs),
        eqns=list(equations),
        effects=frozenset().union(*(equation.effects for equation in equations)),
        debug_info=debug_info._replace(
            arg_names=(*names, *[""] * len(inputs))[: len(inputs)],
            result_paths=("",) * len(outputs),
        ),
    )
    return ClosedJaxpr(jaxpr, [value for _, value in constants])


def with_leading_axis(variable: Var, size: int) -> Var:
    """Returns a fresh variable whose first axis counts the given one's values."""
    aval: Any = variable.aval
    return Var(aval.update(shape=(size, *aval.shape)))


def sub_jaxprs(parameters: dict[str, Any]) -> list[tuple[str, ClosedJaxpr]]:
    """Returns the jaxprs among an equation's parameters, with their names.

    A tuple of jaxprs (`branches` of `cond`) gives one entry for each, `branches[0]`
    and so on. Open jaxprs are closed over no constants.
    """
    found: list[tuple[str, ClosedJaxpr]] = []
    for name, value in parameters.items():
        many = isinstance(value, tuple | list)
        for index, item in enumerate(value if many else (value,)):
            label = f"{name}[{index}]" if many else name
            if isinstance(item, ClosedJaxpr):
                found.append((label, item))
            elif isinstance(item, Jaxpr):
                found.append((label, ClosedJaxpr(item, [])))
    return found


def has_derivative(primitive: Primitive) -> bool:
    """Says whether JAX has a forward-mode rule for a primitive."""
    return primitive in ad.primitive_jvps


def is_traced(value: Any) -> bool:
    """Says whether a value is known only while JAX traces a function."""
    return isinstance(value, Tracer)


def array_shape(atom: Var | Literal) -> tuple[int, ...]:
    """Returns the shape of a variable or a literal."""
    aval: Any = atom.aval
    return tuple(aval.shape)


def array_spec(atom: Var | Literal) -> jax.ShapeDtypeStruct:
    """Returns shape and data type of a variable or a literal."""
    return jax.ShapeDtypeStruct(array_shape(atom), array_dtype(atom))


def array_dtype(atom: Var | Literal) -> Any:
    """Returns the data type of a variable or a literal."""
    aval: Any = atom.aval
    return aval.dtype


def enable_x64() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which JAX computes in 64 bits."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64 as context  # pyright: ignore

    return context(True)
