"""Scans that only count, as `lax.fori_loop`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ntkplan._jax import Literal, primitives
from ntkplan.emit.expression import Expression, atom, call, sequence
from ntkplan.emit.primitives.context import Context, Group, Signature
from ntkplan.emit.primitives.user_names import argument_names, function_name
from ntkplan.emit.primitives.value import Unpacked, Value, aval_of, exact
from ntkplan.ir.equation import Equation
from ntkplan.trace.jaxpr import flatten


def is_counted_loop(equation: Equation) -> bool:
    """Says whether an equation is what `lax.fori_loop` with fixed bounds traces to.

    That is a scan of nothing that stacks nothing, whose first carried value is a
    number that grows by one.
    """
    if equation.primitive is not primitives.scan_p:
        return False
    parameters = equation.parameters
    n_consts, n_carry = parameters["num_consts"], parameters["num_carry"]
    plain = not parameters["reverse"] and parameters["unroll"] == 1
    alone = len(equation.outputs) == n_carry == len(equation.inputs) - n_consts
    if not plain or not alone or n_carry < 2:
        return False
    start = equation.inputs[n_consts]
    if not isinstance(start, Literal) or aval_of(start).dtype != np.int32:
        return False
    jaxpr = parameters["jaxpr"].jaxpr
    counter, counted = jaxpr.invars[n_consts], jaxpr.outvars[0]
    return any(
        counted in item.outvars
        and item.primitive is primitives.add_p
        and item.invars[0] is counter
        and isinstance(item.invars[1], Literal)
        and item.invars[1].val == 1
        for item in jaxpr.eqns
    )


def print_counted_loop(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Unpacked:
    """Prints the loop; what counts is not among its results."""
    parameters = equation.parameters
    n_consts, n_carry = parameters["num_consts"], parameters["num_carry"]
    names = argument_names(parameters["jaxpr"])
    first = n_consts + 1
    signature = Signature(
        captured=tuple(operands[:n_consts]),
        arguments=(
            Group(
                name="i", each="i", positions=(n_consts,), wanted=names[n_consts:first]
            ),
            Group(
                name="carry",
                each="carry",
                positions=tuple(range(first, n_consts + n_carry)),
                wanted=names[first:],
            ),
        ),
        results=(Group(name="carry", positions=tuple(range(1, n_carry))),),
    )
    body = flatten(parameters["jaxpr"])
    step = context.local_function(
        function_name(parameters["jaxpr"], "step"), body, signature
    )
    start = int(np.asarray(operands[n_consts].number))
    bounds = [atom(str(start)), atom(str(start + int(parameters["length"])))]
    carried = [exact(operand) for operand in operands[first:]]
    packed: Expression = carried[0] if len(carried) == 1 else sequence(carried)
    return Unpacked(
        expression=call("lax.fori_loop", *bounds, step, packed), target=", ".join
    )
