"""A body in which leaves are followed, and what following them adds to it.

Uses inside loops and branches are reached by opening the equation: the body of a scan,
say, gets a tap as one more scanned input, and returns what it records as one more
stacked output. The taps and records of the inside are then variables of the outside,
with an axis that counts the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from ntkplan._jax import (
    Literal,
    Var,
    array_dtype,
    array_shape,
    equation_tangent,
    new_variable,
    primitives,
    with_leading_axis,
)
from ntkplan.ir.equation import Atom, Body, Equation, substituted
from ntkplan.ir.graph import Flow, build_graph
from ntkplan.trace.derivatives import moving_variables
from ntkplan.trace.jaxpr import applied, inline


class Scope:
    """A body, what in it depends on data, and what is added to it.

    Attributes:
        flow: The body as it was traced, and who reads what.
        depth: How many bodies of loops and branches it is inside of.
        varying: Variables that differ from example to example.
        moving: Variables on whose tangents the body's outputs depend.
        derived: Equations that are added, in order.
        constants: Arrays that these are closed over.
        literals: Variables that stand for a number.
        taps: For every variable inside that is tapped, the tap on the outside.
        records: For every variable inside that is recorded, the one on the outside.
        opened: Scopes of the bodies of equations that were opened, by their number.
    """

    def __init__(self, flow: Flow, varying: Iterable[Var], depth: int) -> None:
        """Starts a scope; `varying` are the inputs that are data."""
        self.flow = flow
        self.depth = depth
        self.varying = set(flow.downstream(varying))
        self.moving = moving_variables(flow)
        self.derived: list[Equation] = []
        self.constants: list[tuple[Var, Any]] = []
        self.literals: dict[Var, Literal] = {}
        self.taps: dict[Var, Var] = {}
        self.records: dict[Var, Var] = {}
        self.opened: dict[int, tuple[Scope, ...]] = {}
        self._partials: dict[tuple[int, int], Var] = {}

    def derive(self, function: Callable[..., Any], *operands: Atom) -> Var:
        """Applies a function of arrays to variables, as part of the body."""
        return self._add(*applied(function, *operands))

    def partial(self, number: int, operand: int) -> Var:
        """Returns the variable that holds an equation's entrywise derivative."""
        key = (number, operand)
        if key not in self._partials:
            equation = self.flow.body.equations[number]
            closed, _, _ = equation_tangent(equation.as_jax(), operand)
            tangent = new_variable(closed.in_avals[-1])
            operands = [atom for atom in equation.inputs if isinstance(atom, Var)]
            equations, constants, outputs = inline(closed, [*operands, tangent])
            kept, outputs = _at_one(equations, outputs, tangent)
            self._partials[key] = self._add(kept, constants, outputs)
        return self._partials[key]

    def _add(
        self,
        equations: Sequence[Equation],
        constants: Sequence[tuple[Var, Any]],
        outputs: Sequence[Atom],
    ) -> Var:
        (output,) = outputs
        if not isinstance(output, Var):
            constant = new_variable(output.aval)
            self.literals[constant] = output
            return constant
        self.derived += equations
        self.constants += constants
        for equation in equations:
            if not self.varying.isdisjoint(equation.reads):
                self.varying.update(equation.outputs)
        return output


def _at_one(
    equations: Sequence[Equation], outputs: Sequence[Atom], tangent: Var
) -> tuple[list[Equation], tuple[Atom, ...]]:
    """Evaluates what is linear in a tangent at a tangent of ones.

    Products with it are left out, so that nothing is multiplied by one.
    """
    same: dict[Var, Atom] = {}
    kept: list[Equation] = []
    for equation in equations:
        equation = equation.reading(same)
        if equation.primitive is primitives.mul_p and tangent in equation.inputs:
            left, right = equation.inputs
            other = right if left is tangent else left
            if array_shape(other) == array_shape(equation.outputs[0]):
                same[equation.outputs[0]] = other
                continue
        kept.append(equation)
    outputs = tuple(substituted(atom, same) for atom in outputs)
    if tangent not in outputs and not any(tangent in item.reads for item in kept):
        return kept, outputs
    shape, dtype = array_shape(tangent), array_dtype(tangent)
    ones, _, (value,) = applied(lambda: jax.numpy.ones(shape, dtype))
    table = {tangent: value}
    kept = [*ones, *(equation.reading(table) for equation in kept)]
    return kept, tuple(substituted(atom, table) for atom in outputs)


def inner_scope(body: Body, varying: Iterable[Var], depth: int) -> Scope:
    """Returns the scope of a body inside of an equation."""
    flow = Flow(body=body, graph=build_graph(body.equations))
    return Scope(flow, varying, depth)


def lifted(table: dict[Var, Var], variable: Var, length: int | None) -> Var:
    """Returns the outer variable of an inner one that is tapped or recorded.

    Args:
        table: The inner scope's taps or records.
        variable: The inner variable.
        length: Steps of the loop around it, or None where there is no loop.
    """
    if variable not in table:
        table[variable] = (
            new_variable(variable.aval)
            if length is None
            else with_leading_axis(variable, length)
        )
    return table[variable]
