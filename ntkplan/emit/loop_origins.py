"""Which tap inside of a loop, a branch or a checkpoint a value comes from."""

from __future__ import annotations

from collections.abc import Mapping

from ntkplan._jax import ClosedJaxpr, Var
from ntkplan.ir.equation import Body, Equation
from ntkplan.ir.graph import Flow, build_graph
from ntkplan.trace.jaxpr import flatten


def last_read(flow: Flow, tap: Var) -> int:
    """Returns the number of the last equation that reads a tap, -1 if none does."""
    return max((number for number, _ in flow.consumers(tap)), default=-1)


def nearest_tap(
    flow: Flow, variable: Var, taps: Mapping[Var, Var]
) -> tuple[Var, bool] | None:
    """Returns the last tap before a value, among those of the body it is computed in.

    Args:
        flow: A body.
        variable: One of its variables, or what a loop in it returns for every step.
        taps: Inputs of the body that are taps, and what each of them is to the caller.

    Returns:
        The tap, and whether the value is what it is added to; None where no tap of the
        innermost body lies before the value: it is what the loop carried there, or what
        a whole loop has computed.
    """
    number = flow.definition(variable)
    if number is None:
        return None
    equation = flow.body.equations[number]
    if _bodies(equation):
        return _inside(equation, variable, taps)
    upstream = flow.upstream((variable,))
    places = [(last_read(flow, tap), tap) for tap in taps if tap in upstream]
    if not places:
        return None
    place, tap = max(places, key=lambda item: item[0])
    reader = flow.body.equations[place]
    if _bodies(reader):
        return None
    return taps[tap], variable in reader.outputs


def _inside(
    equation: Equation, variable: Var, taps: Mapping[Var, Var]
) -> tuple[Var, bool] | None:
    """Looks for a result of an equation in its bodies."""
    position = next(n for n, item in enumerate(equation.outputs) if item is variable)
    if position < equation.parameters.get("num_carry", 0):
        return None
    for body in _bodies(equation):
        result = body.outputs[position]
        # The operands that choose a branch stand before those that it is given.
        pairs = zip(reversed(equation.inputs), reversed(body.inputs), strict=False)
        given = {
            inner: taps[item]
            for item, inner in pairs
            if isinstance(item, Var) and item in taps
        }
        if isinstance(result, Var):
            flow = Flow(body=body, graph=build_graph(body.equations))
            found = nearest_tap(flow, result, given)
            if found is not None:
                return found
    return None


def _bodies(equation: Equation) -> list[Body]:
    """Returns the bodies of a scan, a choice or a checkpoint."""
    parameters = equation.parameters
    jaxpr = parameters.get("jaxpr")
    closed = [*parameters.get("branches", ()), *([] if jaxpr is None else [jaxpr])]
    return [
        flatten(item if isinstance(item, ClosedJaxpr) else ClosedJaxpr(item, []))
        for item in closed
    ]
