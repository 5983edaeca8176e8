"""The axis of the examples through equations that hold jaxprs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jax import lax

from ntkplan._jax import ClosedJaxpr, Jaxpr, Primitive, primitives, remat_p
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.loops import Follow, scan, while_
from ntkplan.trace.axis_rules.state import (
    Finding,
    Lost,
    State,
    doubted,
    join,
)

ControlRule = Callable[[Equation, Sequence[State], int, Follow], list[State]]


def _closed(jaxpr: Any) -> ClosedJaxpr:
    return ClosedJaxpr(jaxpr, []) if isinstance(jaxpr, Jaxpr) else jaxpr


def custom_derivative(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """A function with a derivative rule of its own: the function itself is followed."""
    return follow(_closed(equation.parameters["call_jaxpr"]), states)


def checkpoint(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """A function that is computed again for its derivative: it is followed."""
    return follow(_closed(equation.parameters["jaxpr"]), states)


def cond(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """One of several branches; what any of them may give holds."""
    chooser, *operands = states
    if isinstance(chooser, Lost):
        return [chooser] * len(equation.outputs)
    if chooser.examples:
        why = "examples choose the branch"
        finding = Finding(equation=equation, why=why)
        return [Lost(finding=finding, certain=False)] * len(equation.outputs)
    by_branch = [
        follow(_closed(branch), operands) for branch in equation.parameters["branches"]
    ]
    merge = functools.partial(join, equation=equation)
    return [
        doubted(functools.reduce(merge, results), chooser.doubt)
        for results in zip(*by_branch, strict=True)
    ]


def linear_solve(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """A linear solve with a derivative rule of its own: the solver is followed."""
    lengths = equation.parameters["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    solver_constants = states[start : start + lengths.solve]
    right_sides = states[sum(lengths) :]
    solver = _closed(equation.parameters["jaxprs"].solve)
    return follow(solver, [*solver_constants, *right_sides])


def each_alone(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """Hands every operand on to the output of the same number."""
    return list(states)


@functools.cache
def control_rules() -> Mapping[Primitive, ControlRule]:
    """Returns the rule of every primitive that holds jaxprs or passes operands on."""
    return MappingProxyType(
        {
            primitives.custom_jvp_call_p: custom_derivative,
            primitives.custom_vjp_call_p: custom_derivative,
            remat_p: checkpoint,
            primitives.cond_p: cond,
            primitives.scan_p: scan,
            primitives.while_p: while_,
            primitives.linear_solve_p: linear_solve,
            primitives.device_put_p: each_alone,
            lax.optimization_barrier_p: each_alone,
        }
    )
