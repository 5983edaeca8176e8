"""Equations that move, join or sum the axes of a value and leave its entries alone."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence

from ntkplan._jax import Primitive, array_shape, primitives
from ntkplan.ir.equation import Equation

Axes = tuple[tuple[int, ...], ...]
"""For each axis of an array, the axes of the first tap that it is made of."""


def _reduce_sum(equation: Equation, axes: Axes, sizes: Sequence[int]) -> Axes:
    reduced = equation.parameters["axes"]
    return tuple(axis for at, axis in enumerate(axes) if at not in reduced)


def _reduce_window(equation: Equation, axes: Axes, sizes: Sequence[int]) -> Axes | None:
    """A window that is as long as the axis sums all of it."""
    parameters = equation.parameters
    window = parameters["window_dimensions"]
    shape = array_shape(equation.inputs[0])
    result = array_shape(equation.outputs[0])
    dilated = {*parameters["base_dilation"], *parameters["window_dilation"]} != {1}
    if dilated or any(low or high for low, high in parameters["padding"]):
        return None
    kept = tuple(
        length == 1 and a == b
        for length, a, b in zip(window, shape, result, strict=True)
    )
    whole = tuple(
        length == a and b == 1
        for length, a, b in zip(window, shape, result, strict=True)
    )
    if not all(map(operator.or_, kept, whole)):
        return None
    return tuple(axis if keep else () for axis, keep in zip(axes, kept, strict=True))


def _transpose(equation: Equation, axes: Axes, sizes: Sequence[int]) -> Axes:
    return tuple(axes[at] for at in equation.parameters["permutation"])


def _broadcast(equation: Equation, axes: Axes, sizes: Sequence[int]) -> Axes | None:
    """Axes of length one may come in."""
    shape = array_shape(equation.outputs[0])
    if math.prod(shape) != math.prod(array_shape(equation.inputs[0])):
        return None
    places = dict(zip(equation.parameters["broadcast_dimensions"], axes, strict=True))
    return tuple(places.get(at, ()) for at in range(len(shape)))


def _reshape(equation: Equation, axes: Axes, sizes: Sequence[int]) -> Axes | None:
    """Axes may be joined, and parted again, but none of the first tap's is split."""
    if equation.parameters.get("dimensions") is not None:
        return None
    pending = [at for axis in axes for at in axis]
    found: list[tuple[int, ...]] = []
    for size in array_shape(equation.outputs[0]):
        taken: list[int] = []
        while math.prod(sizes[at] for at in taken) < size:
            taken.append(pending.pop(0))
        if math.prod(sizes[at] for at in taken) != size:
            return None
        found.append(tuple(taken))
    return tuple(found)


AXIS_RULES: Mapping[
    Primitive, Callable[[Equation, Axes, Sequence[int]], Axes | None]
] = {
    primitives.broadcast_in_dim_p: _broadcast,
    primitives.reduce_sum_p: _reduce_sum,
    primitives.reduce_window_sum_p: _reduce_window,
    primitives.reshape_p: _reshape,
    primitives.squeeze_p: _reshape,
    primitives.transpose_p: _transpose,
}
"""Rules that say what the axes of an equation's result are made of.

They are given the equation, the axes of what it reads, and the lengths of the axes that
these are made of; the result has fewer where it is a sum over some. None where an
equation of that primitive does anything else.
"""
