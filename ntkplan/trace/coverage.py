"""Proof that the uses of a leaf account for every path from it to the output."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan._jax import Var
from ntkplan.errors import InternalError
from ntkplan.ir.use import Layer
from ntkplan.trace.derivatives import passes_no_derivative
from ntkplan.trace.layers import Layering
from ntkplan.trace.openings import OPENINGS
from ntkplan.trace.scope import Scope

Place = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stops:
    """What ends the walk.

    Attributes:
        used: Operands that are uses.
        absent: Operands and numbers of results that have no entry of the leaf.
    """

    used: frozenset[Place]
    absent: frozenset[tuple[Place, int]]


def prove_covered(layering: Layering) -> None:
    """Walks every path from every leaf and checks that a use cuts it.

    The walk knows nothing of rules or prefixes: it starts at the leaf, follows every
    read that passes a derivative on, into loops and branches too, and stops only at the
    operands that are uses.

    Raises:
        InternalError: A path reaches the output past all uses. It is named.
    """
    graph, layers = layering.graph, layering.layers
    differentiated = [leaf for leaf in graph.leaves if leaf.differentiated]
    if [leaf.path for leaf in differentiated] != [layer.leaf.path for layer in layers]:
        raise InternalError("layers and differentiated leaves differ", layers)
    for layer in layers:
        if layer.opaque is None:
            _prove_layer(layering.scope, layer)


def _prove_layer(scope: Scope, layer: Layer) -> None:
    stops = _Stops(
        used=frozenset(use.place for stack in layer.stacks for use in stack.uses),
        absent=frozenset(layer.absent),
    )
    escaped = _escaping(scope, layer.leaf.variable, stops, ())
    if escaped:
        variable, path = next(iter(escaped.items()))
        steps = " -> ".join((layer.leaf.path, *path, "output"))
        raise InternalError(
            f"a path from a leaf is covered by no use: {steps}", variable
        )


def _escaping(
    scope: Scope, start: Var, stops: _Stops, around: Place
) -> dict[Var, tuple[str, ...]]:
    """Returns the outputs of a body that a variable reaches past all uses."""
    pending: list[tuple[Var, tuple[str, ...]]] = [(start, ())]
    seen: set[Var] = set()
    found: dict[Var, tuple[str, ...]] = {}
    while pending:
        variable, path = pending.pop()
        if variable in seen:
            continue
        seen.add(variable)
        if scope.flow.is_output(variable):
            found[variable] = path
        for number, operand in scope.flow.consumers(variable):
            equation = scope.flow.body.equations[number]
            place = (*around, (number, operand))
            if place in stops.used or passes_no_derivative(equation):
                continue
            step = f"{equation.primitive.name} ({equation.source})"
            if number in scope.opened:
                reached = _through(scope, number, operand, stops, place)
            else:
                reached = [
                    output
                    for result, output in enumerate(equation.outputs)
                    if (place, result) not in stops.absent
                ]
            pending += [(output, (*path, step)) for output in reached]
    return found


def _through(
    scope: Scope, number: int, operand: int, stops: _Stops, place: Place
) -> Sequence[Var]:
    """Returns the results of a loop or branch that an operand reaches past all uses."""
    equation = scope.flow.body.equations[number]
    scopes = scope.opened[number]
    entrances = OPENINGS[equation.primitive].entrances(equation, operand, scopes) or ()
    results: list[Var] = []
    for entrance in entrances:
        body = scopes[entrance.body]
        escaped = _escaping(body, entrance.variable, stops, place)
        results += [
            output
            for output, atom in zip(
                equation.outputs, body.flow.body.outputs, strict=True
            )
            if isinstance(atom, Var) and atom in escaped
        ]
    return results
