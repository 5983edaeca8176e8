"""An array that is made of a leaf, cut into several: a slice for every result."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax

from ntkplan._jax import Primitive, Var, array_shape, new_variable, primitives
from ntkplan.rules.axes import AxisMap, with_axes
from ntkplan.rules.prefix import Carried, carry
from ntkplan.rules.step import Step

_UNSTACKS: frozenset[Primitive] = frozenset(
    {jax.lax.unstack_p} if hasattr(jax.lax, "unstack_p") else ()
)

SPLITS: frozenset[Primitive] = _UNSTACKS | {jax.lax.split_p}
"""Primitives that cut their operand into several results."""


def carry_parts(step: Step, axis_map: AxisMap) -> tuple[Carried, ...]:
    """Carries a map to every result of a split, each by the rule for its slice."""
    equation = step.equation
    axis, whole = equation.parameters["axis"], array_shape(equation.inputs[0])
    unstacks = equation.primitive in _UNSTACKS
    sizes = [1] * whole[axis] if unstacks else equation.parameters["sizes"]
    starts = itertools.accumulate(map(int, sizes), initial=0)
    parts: list[Carried] = []
    for output, start, size in zip(equation.outputs, starts, sizes, strict=False):
        part = carry(_sliced(step, output, axis, start, int(size)), axis_map)
        if unstacks and isinstance(part, AxisMap):
            left = (item for number, item in enumerate(part.axes) if number != axis)
            part = with_axes(part, left)
        parts.append(part)
    return tuple(parts)


def _sliced(step: Step, output: Var, axis: int, start: int, size: int) -> Step:
    """Returns the slice that gives one of the results, before axes are dropped."""
    whole = array_shape(step.equation.inputs[0])
    starts, limits = [0] * len(whole), list(whole)
    starts[axis], limits[axis] = start, start + size
    aval: Any = output.aval
    part = dataclasses.replace(
        step.equation,
        primitive=primitives.slice_p,
        outputs=(
            new_variable(aval.update(shape=(*whole[:axis], size, *whole[axis + 1 :]))),
        ),
        parameters={
            "start_indices": tuple(starts),
            "limit_indices": tuple(limits),
            "strides": None,
        },
    )
    return dataclasses.replace(step, equation=part)
