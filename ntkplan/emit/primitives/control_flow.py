"""Printers of `scan`, `while_loop`, `cond` and `checkpoint`, with local functions."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ntkplan._jax import ClosedJaxpr, Primitive, primitives, remat_p
from ntkplan.emit.expression import Expression, atom, call, sequence
from ntkplan.emit.primitives.context import (
    Context,
    Group,
    Printer,
    Result,
    Signature,
    tuple_target,
)
from ntkplan.emit.primitives.parameters import check_known, flags
from ntkplan.emit.primitives.user_names import (
    argument_names,
    function_name,
    with_tap_names,
)
from ntkplan.emit.primitives.value import Unpacked, Value, aval_of, exact, whole
from ntkplan.emit.primitives.vectorized_loop import (
    is_vectorized,
    until_all_have_stopped,
)
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation
from ntkplan.trace.jaxpr import flatten


def _packed(operands: Sequence[Value]) -> Expression:
    """One value as itself, several as a tuple, none as None."""
    if not operands:
        return atom("None")
    parts = [exact(operand) for operand in operands]
    return parts[0] if len(parts) == 1 else sequence(parts)


def _packed_target(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _positions(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(start, start + count))


def _scan(equation: Equation, operands: Sequence[Value], context: Context):
    parameters = equation.parameters
    check_known(
        equation,
        "jaxpr",
        "length",
        "reverse",
        "linear",
        "unroll",
        "num_consts",
        "num_carry",
    )
    n_consts, n_carry = parameters["num_consts"], parameters["num_carry"]
    n_scanned = len(operands) - n_consts - n_carry
    n_stacked = len(equation.outputs) - n_carry
    consts, carry, scanned = (
        operands[:n_consts],
        operands[n_consts : n_consts + n_carry],
        operands[n_consts + n_carry :],
    )
    names = argument_names(parameters["jaxpr"])
    start = n_consts + n_carry
    signature = Signature(
        captured=tuple(consts),
        arguments=(
            Group(
                name="carry",
                each="carry",
                positions=_positions(n_consts, n_carry),
                wanted=names[n_consts:start],
            ),
            Group(
                name="xs",
                each="item",
                positions=_positions(start, n_scanned),
                wanted=with_tap_names(names[start:], scanned),
            ),
        ),
        results=(
            Group(name="carry", each="carry", positions=_positions(0, n_carry)),
            Group(name="ys", positions=_positions(n_carry, n_stacked)),
        ),
    )
    name = function_name(parameters["jaxpr"], "step")
    step = context.local_function(name, flatten(parameters["jaxpr"]), signature)
    keywords = flags(parameters, reverse=False, unroll=1)
    if not scanned:
        keywords = {"length": atom(str(int(parameters["length"]))), **keywords}
    arguments = [_packed(carry), _packed(scanned)]

    def target(names: Sequence[str]) -> str:
        stacked = _packed_target(names[n_carry:]) if n_stacked else "_"
        return f"{_packed_target(names[:n_carry]) if n_carry else '_'}, {stacked}"

    return Unpacked(
        expression=call("lax.scan", step, *arguments, **keywords), target=target
    )


def _while(equation: Equation, operands: Sequence[Value], context: Context):
    parameters = equation.parameters
    check_known(equation, "cond_jaxpr", "cond_nconsts", "body_jaxpr", "body_nconsts")
    if is_vectorized(parameters["cond_jaxpr"]):
        n_test = parameters["cond_nconsts"]
        parameters = until_all_have_stopped(equation)
        operands = [*operands[:n_test], *operands]
    n_test, n_body = parameters["cond_nconsts"], parameters["body_nconsts"]
    test_consts, body_consts, carry = (
        operands[:n_test],
        operands[n_test : n_test + n_body],
        operands[n_test + n_body :],
    )

    def define(base: str, key: str, consts: Sequence[Value]) -> Expression:
        closed, users = parameters[key], equation.parameters[key]
        arguments = Group(
            name="carry",
            each="carry",
            positions=_positions(len(consts), len(carry)),
            wanted=argument_names(users)[-len(carry) :],
        )
        n_results = len(closed.jaxpr.outvars)
        results = Group(name="carry", each="carry", positions=_positions(0, n_results))
        signature = Signature(
            captured=tuple(consts), arguments=(arguments,), results=(results,)
        )
        name = function_name(users, base)
        return context.local_function(name, flatten(closed), signature)

    test = define("goes_on", "cond_jaxpr", test_consts)
    body = define("step", "body_jaxpr", body_consts)
    expression = call("lax.while_loop", test, body, _packed(carry))
    if len(equation.outputs) == 1:
        return whole(expression, aval_of(equation.outputs[0]))
    return Unpacked(expression=expression, target=tuple_target)


def _branches(
    equation: Equation, arguments: Sequence[Value], context: Context
) -> list[Expression]:
    """Defines every branch, and returns their names."""
    return [
        context.local_function(
            function_name(closed, "branch"),
            flatten(closed),
            _of_operands(equation, closed, arguments),
        )
        for closed in equation.parameters["branches"]
    ]


def _of_operands(
    equation: Equation, closed: ClosedJaxpr, operands: Sequence[Value]
) -> Signature:
    """A function that takes an equation's operands one by one."""
    n_operands = len(operands)
    several = [f"operand{index}" for index in range(n_operands)]
    names = ["operand"] if n_operands == 1 else several
    wanted = with_tap_names(argument_names(closed), operands)
    return Signature(
        arguments=tuple(
            Group(name=name, each=name, positions=(index,), wanted=(wanted[index],))
            for index, name in enumerate(names)
        ),
        results=(
            Group(name="results", positions=_positions(0, len(equation.outputs))),
        ),
    )


def _chosen(equation: Equation, expression: Expression) -> Result:
    if len(equation.outputs) == 1:
        return whole(expression, aval_of(equation.outputs[0]))
    return Unpacked(expression=expression, target=tuple_target)


def _cond(equation: Equation, operands: Sequence[Value], context: Context) -> Result:
    check_known(equation, "branches")
    which, *arguments = operands
    branches = _branches(equation, arguments, context)
    passed = [exact(argument) for argument in arguments]
    condition = which if which.dtype == np.bool_ else which.condition
    if condition is not None and len(branches) == 2:
        no, yes = branches
        return _chosen(equation, call("lax.cond", exact(condition), yes, no, *passed))
    expression = call("lax.switch", exact(which), sequence(branches), *passed)
    return _chosen(equation, expression)


def print_platform_dependent(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    """Prints a choice by the platform that the code is compiled for.

    Args:
        equation: A `cond` that names the platforms of its branches.
        operands: Its operands without the first, the platform's number.
        context: Where it is printed.
    """
    branches = _branches(equation, operands, context)
    keywords: dict[str, Expression] = {}
    for names, branch in zip(
        equation.parameters["branches_platforms"], branches, strict=True
    ):
        keywords |= dict.fromkeys(names or ("default",), branch)
    arguments = [exact(operand) for operand in operands]
    return _chosen(equation, call("lax.platform_dependent", *arguments, **keywords))


def _checkpoint(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Result:
    """Prints a function whose intermediate values are computed again, not kept."""
    check_known(equation, "jaxpr", "prevent_cse", "policy", "differentiated")
    parameters = equation.parameters
    closed = ClosedJaxpr(parameters["jaxpr"], [])
    block = context.local_function(
        function_name(closed, "block"),
        flatten(closed),
        _of_operands(equation, closed, operands),
    )
    keywords = flags(parameters, prevent_cse=True)
    if parameters["policy"] is not None:
        keywords["policy"] = atom(_policy_name(equation))
    again = call("jax.checkpoint", block, **keywords)
    return _chosen(equation, call(again.text, *map(exact, operands)))


def _policy_name(equation: Equation) -> str:
    """Returns the public name of a policy that says what a checkpoint keeps.

    Raises:
        NotPrintableError: It is a function of the user's own.
    """
    policy = equation.parameters["policy"]
    for name in dir(jax.checkpoint_policies):
        if getattr(jax.checkpoint_policies, name) is policy:
            return f"jax.checkpoint_policies.{name}"
    raise NotPrintableError(
        primitive=equation.primitive.name, reason="a policy that JAX has no name for"
    )


PRINTERS: dict[Primitive, Printer] = {
    remat_p: _checkpoint,
    primitives.scan_p: _scan,
    primitives.while_p: _while,
    primitives.cond_p: _cond,
}
