"""The rules of custom derivatives as jaxprs, and the source of helpers with them.

The derivative is found in a way that does not depend on how JAX keeps it: by tracing
`jax.jvp` or `jax.vjp` of the one equation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan._jax import (
    ClosedJaxpr,
    Literal,
    Var,
    equation_function,
    evaluate,
    new_variable,
)
from ntkplan.emit.primitives.context import Context, Group, Signature
from ntkplan.emit.primitives.parameters import stable_text
from ntkplan.emit.primitives.user_names import argument_names
from ntkplan.emit.primitives.value import aval_of
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Body, Equation
from ntkplan.trace.jaxpr import flatten

Write = Callable[[str], str]
Derive = Callable[[Equation, Context], tuple[list[ClosedJaxpr], Write]]


def call_jaxpr(equation: Equation) -> ClosedJaxpr:
    """The function itself, without its derivative."""
    return equation.parameters["call_jaxpr"]


def _literal_array(literal: Literal) -> np.ndarray:
    return np.asarray(literal.val).astype(aval_of(literal).dtype)


def free_shapes(equation: Equation) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of the operands that are variables."""
    return tuple(
        jax.ShapeDtypeStruct(aval_of(atom).shape, aval_of(atom).dtype)
        for atom in equation.inputs
        if isinstance(atom, Var)
    )


def _one_by_one(equation: Equation) -> Callable[..., tuple[Any, ...]]:
    """The equation as a function in which every argument is a variable of its own."""
    inputs = [
        atom if isinstance(atom, Literal) else new_variable(aval_of(atom))
        for atom in equation.inputs
    ]
    function = equation_function(
        equation.primitive,
        inputs,
        equation.outputs,
        equation.parameters,
        equation.origin,
    )
    return lambda *operands: tuple(function(*operands))


def _primal(equation: Equation) -> Body:
    """The function without its derivative."""

    def function(*free: Any) -> list[Any]:
        rest = iter(free)
        operands = [
            _literal_array(atom) if isinstance(atom, Literal) else next(rest)
            for atom in equation.inputs
        ]
        return evaluate(call_jaxpr(equation), *operands)

    return flatten(jax.make_jaxpr(function)(*free_shapes(equation)))


def _differentiable(shapes: Sequence[Any]) -> list[int]:
    """Which of some arrays have tangents."""
    return [
        index
        for index, shape in enumerate(shapes)
        if jnp.issubdtype(shape.dtype, np.inexact)
    ]


def check_outputs(equation: Equation) -> None:
    """Refuses a function with results that have no tangents.

    Raises:
        NotPrintableError: There is such a result.
    """
    avals = [aval_of(variable) for variable in equation.outputs]
    if len(_differentiable(avals)) != len(avals):
        raise NotPrintableError(
            primitive=equation.primitive.name,
            reason="a custom derivative with an integer result",
        )


def jaxpr_text(closed: ClosedJaxpr) -> tuple[str, ...]:
    """A jaxpr and its constants as text that is the same in every trace."""
    constants = flatten(closed).constants
    return (
        stable_text(closed),
        *(repr(np.asarray(array).tobytes()) for _, array in constants),
    )


def jvp_jaxpr(equation: Equation) -> ClosedJaxpr:
    """The derivative of a `jax.custom_jvp` function: primals, tangents to both."""
    shapes = free_shapes(equation)
    moving = _differentiable(shapes)
    function = _one_by_one(equation)

    def derivative(primals: Any, tangents: Any) -> Any:
        by_position = dict(zip(moving, tangents, strict=True))
        full = tuple(
            by_position.get(index, np.zeros(shape.shape, jax.dtypes.float0))
            for index, shape in enumerate(shapes)
        )
        return jax.jvp(function, primals, full)

    return jax.make_jaxpr(derivative)(shapes, tuple(shapes[index] for index in moving))


def jvp_rule(equation: Equation, context: Context) -> tuple[list[ClosedJaxpr], Write]:
    """The derivative of a `jax.custom_jvp` function, and what writes its source."""
    shapes = free_shapes(equation)
    moving = _differentiable(shapes)
    rule = jvp_jaxpr(equation)
    names = _free_names(equation)
    n_outputs = len(equation.outputs)
    tangents: list[int | None] = [None] * len(shapes)
    for position, index in enumerate(moving):
        tangents[index] = len(shapes) + position
    signature = Signature(
        arguments=(
            Group(
                name="primals",
                positions=_range(0, len(shapes)),
                always_tuple=True,
                wanted=names,
            ),
            Group(
                name="tangents",
                each="dx",
                positions=tuple(tangents),
                always_tuple=True,
                wanted=tuple(f"d{name}" if name else "" for name in names),
            ),
        ),
        results=(
            Group(name="values", positions=_range(0, n_outputs)),
            Group(name="tangents", positions=_range(n_outputs, n_outputs)),
        ),
    )

    def write(name: str) -> str:
        rule_name = context.module.claim(f"{name}_jvp")
        return "\n".join(
            [
                "@jax.custom_jvp",
                context.module_function(name, _primal(equation), _plain(equation)),
                "\n",
                f"@{name}.defjvp",
                context.module_function(rule_name, flatten(rule), signature),
            ]
        )

    return [rule], write


def _range(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(start, start + count))


def _free_names(equation: Equation) -> tuple[str, ...]:
    """The user's names of the arguments that are variables."""
    names = argument_names(call_jaxpr(equation))
    return tuple(
        name
        for atom, name in zip(equation.inputs, names, strict=True)
        if isinstance(atom, Var)
    )


def _plain(equation: Equation) -> Signature:
    """Every argument by itself, the results as they are returned to a caller."""
    names = _free_names(equation)
    count = len(names)
    return Signature(
        arguments=tuple(
            Group(
                name="x",
                each=f"x{index}" if count > 1 else "x",
                positions=(index,),
                wanted=(name,),
            )
            for index, name in enumerate(names)
        ),
        results=(Group(name="values", positions=_range(0, len(equation.outputs))),),
    )


def vjp_rules(equation: Equation, context: Context) -> tuple[list[ClosedJaxpr], Write]:
    """Both passes of a `jax.custom_vjp` function, and what writes its source.

    The pullback that `jax.vjp` gives is a pytree whose leaves are the residuals.
    """
    shapes = free_shapes(equation)
    function = _one_by_one(equation)
    structure: list[Any] = []

    def forward(*primals: Any) -> Any:
        values, pullback = jax.vjp(function, *primals)
        residuals, tree = jax.tree.flatten(pullback)
        structure.append(tree)
        return values, residuals

    passed, out = jax.make_jaxpr(forward, return_shape=True)(*shapes)
    moving = _differentiable(shapes)

    def backward(residuals: Any, cotangents: Any) -> Any:
        pulled = jax.tree.unflatten(structure[0], residuals)(cotangents)
        return [pulled[index] for index in moving]

    values, residuals = out
    pulled = jax.make_jaxpr(backward)(residuals, values)
    forward_signature, backward_signature = _vjp_signatures(
        equation, len(residuals), moving
    )

    def write(name: str) -> str:
        forward_name = context.module.claim(f"{name}_fwd")
        backward_name = context.module.claim(f"{name}_bwd")
        define = context.module_function
        return "\n".join(
            [
                "@jax.custom_vjp",
                define(name, _primal(equation), _plain(equation)),
                "\n",
                define(forward_name, flatten(passed), forward_signature),
                "\n",
                define(backward_name, flatten(pulled), backward_signature),
                "\n",
                f"{name}.defvjp({forward_name}, {backward_name})",
            ]
        )

    return [passed, pulled], write


def _vjp_signatures(
    equation: Equation, n_residuals: int, moving: Sequence[int]
) -> tuple[Signature, Signature]:
    """How the forward and the backward pass take and return their variables."""
    n_outputs = len(equation.outputs)
    forward = Signature(
        arguments=_plain(equation).arguments,
        results=(
            Group(name="values", positions=_range(0, n_outputs)),
            Group(name="residuals", positions=_range(n_outputs, n_residuals)),
        ),
    )
    results: list[int | None] = [None] * len(free_shapes(equation))
    for position, index in enumerate(moving):
        results[index] = position
    backward = Signature(
        arguments=(
            Group(name="residuals", each="residual", positions=_range(0, n_residuals)),
            Group(
                name="cotangents",
                each="cotangent",
                positions=_range(n_residuals, n_outputs),
            ),
        ),
        results=(
            Group(name="cotangents", positions=tuple(results), always_tuple=True),
        ),
    )
    return forward, backward
