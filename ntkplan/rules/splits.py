"""A split of an array that is made of a leaf: as many slices as there are results."""

from __future__ import annotations

import dataclasses
import itertools

import jax

from ntkplan._jax import Primitive, array_shape, primitives
from ntkplan.rules.axes import AxisMap
from ntkplan.rules.prefix import Carried, carry
from ntkplan.rules.step import Step

SPLITS: frozenset[Primitive] = frozenset({jax.lax.split_p})
"""Primitives that cut their operand into several results."""


def carry_parts(step: Step, axis_map: AxisMap) -> tuple[Carried, ...]:
    """Carries a map to every result of a split, each by the rule for its slice."""
    equation = step.equation
    axis = equation.parameters["axis"]
    whole = array_shape(equation.inputs[0])
    sizes = [int(size) for size in equation.parameters["sizes"]]
    parts: list[Carried] = []
    for output, start in zip(
        equation.outputs, itertools.accumulate(sizes, initial=0), strict=False
    ):
        starts, limits = [0] * len(whole), list(whole)
        starts[axis], limits[axis] = start, start + array_shape(output)[axis]
        part = dataclasses.replace(
            equation,
            primitive=primitives.slice_p,
            outputs=(output,),
            parameters={
                "start_indices": tuple(starts),
                "limit_indices": tuple(limits),
                "strides": None,
            },
        )
        parts.append(carry(dataclasses.replace(step, equation=part), axis_map))
    return tuple(parts)
