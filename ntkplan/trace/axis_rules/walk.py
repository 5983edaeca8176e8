"""The axis of the examples through a whole body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkplan._jax import ClosedJaxpr, Literal, Var
from ntkplan.ir.equation import Atom, Body
from ntkplan.trace.axis_rules.control_flow import control_rules
from ntkplan.trace.axis_rules.factor import Factor, factors_of_axis, shape_of
from ntkplan.trace.axis_rules.state import Held, State
from ntkplan.trace.axis_rules.transfer import transfer
from ntkplan.trace.jaxpr import flatten


def walk(body: Body, states: Sequence[State], count: int) -> list[State]:
    """Returns what is known of each output of a body.

    Args:
        body: Flat code over whole batches.
        states: What is known of each input.
        count: How many examples there are.
    """
    known: dict[Var, State] = dict(zip(body.inputs, states, strict=True))
    for variable, value in body.constants:
        known[variable] = Held(constant=_constant_axes(variable, value, count))

    def read(atom: Atom) -> State:
        return Held() if isinstance(atom, Literal) else known[atom]

    def follow(closed: ClosedJaxpr, inputs: Sequence[State]) -> list[State]:
        return walk(flatten(closed), inputs, count)

    for equation in body.equations:
        operands = [read(atom) for atom in equation.inputs]
        rule = control_rules().get(equation.primitive)
        results = (
            transfer(equation, operands, count)
            if rule is None
            else rule(equation, operands, count, follow)
        )
        known.update(zip(equation.outputs, results, strict=True))
    return [read(atom) for atom in body.outputs]


def _constant_axes(variable: Var, value: Any, count: int) -> tuple[Factor, ...]:
    """Returns the factors along which an array that was closed over is constant."""
    lengths = shape_of(variable)
    if all(length % count for length in lengths) or not hasattr(value, "dtype"):
        return ()
    array = np.asarray(value)
    return tuple(
        factor
        for position, length in enumerate(lengths)
        if length and not length % count
        for factor in factors_of_axis(position, length, count)
        if _is_constant(array, factor)
    )


def _is_constant(array: np.ndarray, factor: Factor) -> bool:
    shape = array.shape
    parts = array.reshape(
        *shape[: factor.position],
        factor.before,
        factor.count,
        factor.after,
        *shape[factor.position + 1 :],
    )
    first = np.take(parts, [0], axis=factor.position + 1)
    return bool(np.all(parts == first))
