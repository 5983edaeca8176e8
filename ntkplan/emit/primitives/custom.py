"""Printers of functions with a derivative of their own.

One that is exactly a function of `jax.nn` or `jax.numpy` prints as that function; any
other becomes a helper function with its derivative, both printed from their jaxprs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import call
from ntkplan.emit.primitives.context import (
    Context,
    Module,
    Printer,
    Result,
    identifier,
    tuple_target,
)
from ntkplan.emit.primitives.custom_rules import (
    Derive,
    Write,
    call_jaxpr,
    check_outputs,
    free_shapes,
    jaxpr_text,
    jvp_rule,
    vjp_rules,
)
from ntkplan.emit.primitives.value import Unpacked, Value, aval_of, exact, whole
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation
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
    return _call_helper(equation, operands, context, jvp_rule)


def _vjp_call(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    return _call_helper(equation, operands, context, vjp_rules)


def _call_helper(
    equation: Equation,
    operands: Sequence[Value],
    context: Context,
    derive: Derive,
) -> Result:
    name = _helper(equation, context, derive)
    arguments = [
        exact(operand)
        for atom, operand in zip(equation.inputs, operands, strict=True)
        if isinstance(atom, Var)
    ]
    expression = call(name, *arguments)
    if len(equation.outputs) == 1:
        return whole(expression, aval_of(equation.outputs[0]))
    return Unpacked(expression=expression, target=tuple_target)


def _helper(equation: Equation, context: Context, derive: Derive) -> str:
    """Returns the name of the function with the derivative."""
    key, write = _derived(equation, context, derive)
    return context.module.helper(key, _function_name(equation), write)


def _derived(equation: Equation, context: Context, derive: Derive) -> tuple[Any, Write]:
    """What an equation's helper is known by, and what writes it.

    A rule may call its own function: that call has the same key, because it computes
    the same and has the same derivative.
    """
    keys = context.module.keys
    if equation not in keys:
        check_outputs(equation)
        rules, write = derive(equation, context)
        atoms = [
            str(atom) if isinstance(atom, Literal) else str(aval_of(atom))
            for atom in equation.inputs
        ]
        texts = [jaxpr_text(closed) for closed in (call_jaxpr(equation), *rules)]
        keys[equation] = ((equation.primitive.name, *atoms, *texts), write)
    return keys[equation]


def _function_name(equation: Equation) -> str:
    """The name of the user's function, made into one of Python's."""
    name = call_jaxpr(equation).jaxpr.debug_info.func_name
    return identifier(name.rsplit(".", 1)[-1].replace("<lambda>", "custom").lstrip("_"))


def _public_function(equation: Equation, context: Context) -> str | None:
    """The public function that an equation exactly is, if there is one."""
    module = context.module
    found = _PUBLIC.get(call_jaxpr(equation).jaxpr.debug_info.func_name)
    if not module.knows_public or found is None or len(equation.outputs) != 1:
        return None
    text, function = found
    key, _ = _derived(equation, context, jvp_rule)
    if key not in module.matches:
        module.matches[key] = _is_same(equation, function, context)
    return text if module.matches[key] else None


def _is_same(
    equation: Equation, function: Callable[..., Any], context: Context
) -> bool:
    """Whether a function traces to an equation that prints the same in full.

    What is compared is the source of both, value and derivative; a batching rule that
    wrote the same in other words, or another order of axes, thus makes no difference.
    """

    def candidate(*free: Any) -> Any:
        rest = iter(free)
        return function(
            *(
                atom.val if isinstance(atom, Literal) else next(rest)
                for atom in equation.inputs
            )
        )

    try:
        body = flatten(jax.make_jaxpr(candidate)(*free_shapes(equation)))
    except (TypeError, ValueError):
        return False
    if len(body.equations) != 1 or body.constants:
        return False
    (other,) = body.equations
    reads = [atom for atom in other.inputs if isinstance(atom, Var)]
    if other.primitive is not equation.primitive or reads != list(body.inputs):
        return False
    if body.outputs != other.outputs:
        return False
    keys = [_derived(item, context, jvp_rule)[0] for item in (equation, other)]
    if keys[0] == keys[1]:
        return True
    sources = [_source(item, context) for item in (equation, other)]
    return sources[0] is not None and sources[0] == sources[1]


def _source(equation: Equation, context: Context) -> dict[str, str] | None:
    """The helpers of an equation, if they need nothing besides themselves."""
    module = Module((), knows_public=False)
    alone = dataclasses.replace(context, module=module, local=set(), before=[])
    try:
        _helper(equation, alone, jvp_rule)
    except NotPrintableError:
        return None
    if module.constants or module.references:
        return None
    return module.helpers


PRINTERS: dict[Primitive, Printer] = {
    primitives.custom_jvp_call_p: _jvp_call,
    primitives.custom_vjp_call_p: _vjp_call,
}
