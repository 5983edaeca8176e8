"""Printers of functions with a derivative of their own.

One that is exactly a function of `jax.nn` or `jax.numpy` prints as that function; any
other becomes a helper function with its derivative, both printed from their jaxprs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np

from ntkplan._jax import (
    ClosedJaxpr,
    Literal,
    Primitive,
    Var,
    equation_function,
    evaluate,
    new_variable,
    primitives,
)
from ntkplan.emit.expression import call
from ntkplan.emit.primitives.context import (
    Context,
    Group,
    Printer,
    Result,
    Signature,
    identifier,
    tuple_target,
)
from ntkplan.emit.primitives.value import Unpacked, Value, aval_of, exact, whole
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Body, Equation
from ntkplan.trace.jaxpr import flatten

# What JAX calls the function inside, and the public function it may be.
_PUBLIC: dict[str, tuple[str, Callable[..., Any]]] = {
    "relu": ("jax.nn.relu", jax.nn.relu),
    "relu6": ("jax.nn.relu6", jax.nn.relu6),
    "logaddexp": ("jnp.logaddexp", jnp.logaddexp),
    "logaddexp2": ("jnp.logaddexp2", jnp.logaddexp2),
    "xlogy": ("jax.scipy.special.xlogy", jax.scipy.special.xlogy),
    "xlog1py": ("jax.scipy.special.xlog1py", jax.scipy.special.xlog1py),
}


Write = Callable[[str], str]


def _jvp_call(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    public = _public_function(equation, context)
    if public is not None:
        arguments = [
            operand.expression if operand.number is not None else exact(operand)
            for operand in operands
        ]
        return whole(call(public, *arguments), aval_of(equation.outputs[0]))
    return _call_helper(equation, operands, context, _jvp_rule)


def _vjp_call(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    return _call_helper(equation, operands, context, _vjp_rules)


def _call_helper(
    equation: Equation,
    operands: Sequence[Value],
    context: Context,
    derive: Callable[[Equation, Context], tuple[list[ClosedJaxpr], Write]],
) -> Result:
    _check_outputs(equation)
    keys = context.module.keys
    if equation not in keys:
        # A rule may call its own function: that call, too, has this key, because it
        # computes the same and has the same derivative.
        rules, write = derive(equation, context)
        key = (equation.primitive.name, _key(equation), *map(_text, rules))
        keys[equation] = (key, write)
    key, write = keys[equation]
    name = context.module.helper(key, _function_name(equation), write)
    arguments = [
        exact(operand)
        for atom, operand in zip(equation.inputs, operands, strict=True)
        if isinstance(atom, Var)
    ]
    expression = call(name, *arguments)
    if len(equation.outputs) == 1:
        return whole(expression, aval_of(equation.outputs[0]))
    return Unpacked(expression=expression, target=tuple_target)


def _text(closed: ClosedJaxpr) -> tuple[str, ...]:
    """A jaxpr and its constants as text that is the same in every trace."""
    constants = flatten(closed).constants
    return (
        re.sub(r"0x[0-9a-f]+", "", str(closed)),
        *(repr(np.asarray(array).tobytes()) for _, array in constants),
    )


def _key(equation: Equation) -> tuple[str, ...]:
    """What an equation computes, and on which shapes, as text."""
    atoms = [
        str(atom) if isinstance(atom, Literal) else str(aval_of(atom))
        for atom in equation.inputs
    ]
    return (str(atoms), *_text(_call_jaxpr(equation)))


def _function_name(equation: Equation) -> str:
    """The name of the user's function, made into one of Python's."""
    name = _call_jaxpr(equation).jaxpr.debug_info.func_name
    return identifier(name.rsplit(".", 1)[-1].replace("<lambda>", "custom").lstrip("_"))


def _call_jaxpr(equation: Equation) -> ClosedJaxpr:
    return equation.parameters["call_jaxpr"]


def _literal_array(literal: Literal) -> np.ndarray:
    return np.asarray(literal.val).astype(aval_of(literal).dtype)


def _public_function(equation: Equation, context: Context) -> str | None:
    """The public function that an equation exactly is, if there is one."""
    found = _PUBLIC.get(_call_jaxpr(equation).jaxpr.debug_info.func_name)
    if found is None or len(equation.outputs) != 1:
        return None
    text, function = found
    matches = context.module.matches
    if equation not in matches:
        matches[equation] = _is_same(equation, function)
    return text if matches[equation] else None


def _is_same(equation: Equation, function: Callable[..., Any]) -> bool:
    """Whether a function traces to the equation, and both to one derivative."""

    def candidate(*free: Any) -> Any:
        rest = iter(free)
        return function(
            *(
                atom.val if isinstance(atom, Literal) else next(rest)
                for atom in equation.inputs
            )
        )

    try:
        body = flatten(jax.make_jaxpr(candidate)(*_free_shapes(equation)))
    except (TypeError, ValueError):
        return False
    if len(body.equations) != 1 or body.constants:
        return False
    (other,) = body.equations
    if other.primitive is not equation.primitive or body.outputs != other.outputs:
        return False
    reads = [atom for atom in other.inputs if isinstance(atom, Var)]
    return reads == list(body.inputs) and _texts(equation) == _texts(other)


def _texts(equation: Equation) -> tuple[Any, ...]:
    """What an equation computes, and its derivative, as text."""
    function = _one_by_one(equation)
    shapes = _free_shapes(equation)

    def derivative(primals: Any, tangents: Any) -> Any:
        return jax.jvp(function, primals, tangents)

    traced = jax.make_jaxpr(derivative)(shapes, shapes)
    return _key(equation), _text(traced)


def _free_shapes(equation: Equation) -> tuple[jax.ShapeDtypeStruct, ...]:
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
        return evaluate(_call_jaxpr(equation), *operands)

    return flatten(jax.make_jaxpr(function)(*_free_shapes(equation)))


def _differentiable(shapes: Sequence[Any]) -> list[int]:
    """Which of some arrays have tangents."""
    return [
        index
        for index, shape in enumerate(shapes)
        if jnp.issubdtype(shape.dtype, np.inexact)
    ]


def _check_outputs(equation: Equation) -> None:
    avals = [aval_of(variable) for variable in equation.outputs]
    if len(_differentiable(avals)) != len(avals):
        raise NotPrintableError(
            primitive=equation.primitive.name,
            reason="a custom derivative with an integer result",
        )


def _jvp_rule(equation: Equation, context: Context) -> tuple[list[ClosedJaxpr], Write]:
    """The derivative of a `jax.custom_jvp` function, and what writes its source."""
    shapes = _free_shapes(equation)
    moving = _differentiable(shapes)
    function = _one_by_one(equation)

    def derivative(primals: Any, tangents: Any) -> Any:
        by_position = dict(zip(moving, tangents, strict=True))
        full = tuple(
            by_position.get(index, np.zeros(shape.shape, jax.dtypes.float0))
            for index, shape in enumerate(shapes)
        )
        return jax.jvp(function, primals, full)

    rule = jax.make_jaxpr(derivative)(shapes, tuple(shapes[index] for index in moving))
    n_outputs = len(equation.outputs)
    tangents: list[int | None] = [None] * len(shapes)
    for position, index in enumerate(moving):
        tangents[index] = len(shapes) + position
    signature = Signature(
        arguments=(
            Group(name="primals", positions=_range(0, len(shapes)), always_tuple=True),
            Group(
                name="tangents",
                each="dx",
                positions=tuple(tangents),
                always_tuple=True,
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


def _plain(equation: Equation) -> Signature:
    """Every argument by itself, the results as they are returned to a caller."""
    count = len(_free_shapes(equation))
    return Signature(
        arguments=tuple(
            Group(name="x", each=f"x{index}" if count > 1 else "x", positions=(index,))
            for index in range(count)
        ),
        results=(Group(name="values", positions=_range(0, len(equation.outputs))),),
    )


def _vjp_rules(equation: Equation, context: Context) -> tuple[list[ClosedJaxpr], Write]:
    """Both passes of a `jax.custom_vjp` function, and what writes its source.

    The pullback that `jax.vjp` gives is a pytree whose leaves are the residuals.
    """
    shapes = _free_shapes(equation)
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
    results: list[int | None] = [None] * len(_free_shapes(equation))
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


PRINTERS: dict[Primitive, Printer] = {
    primitives.custom_jvp_call_p: _jvp_call,
    primitives.custom_vjp_call_p: _vjp_call,
}
