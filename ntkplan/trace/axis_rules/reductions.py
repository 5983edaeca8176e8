"""Axis rules of reductions, cumulative reductions, sorts and windows."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Mixes,
    Outcome,
    Selects,
    Unclear,
    named,
    shape_of,
)


def _without(factor: Factor, axes: Sequence[int], otherwise: Outcome) -> Outcome:
    """Returns the factor after the axes are gone, `otherwise` if it is among them."""
    if factor.position in {int(axis) for axis in axes}:
        return otherwise
    return factor.at(factor.position - sum(axis < factor.position for axis in axes))


def summing(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Reductions to which every element contributes."""
    mixed = Mixes(why="it reduces over the axis of the examples")
    counted = Selects(why="it counts over the axis of the examples")
    return _without(
        factor, equation.parameters["axes"], counted if _counts(equation) else mixed
    )


def selecting(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Reductions that pick an element: maxima, minima, all, any."""
    return _without(
        factor,
        equation.parameters["axes"],
        Selects(why="it compares the examples with each other"),
    )


def reduce_(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """`reduce` with a computation of the user's own; what it computes is not known."""
    return _without(
        factor,
        equation.parameters["dimensions"],
        Mixes(why="it reduces over the axis of the examples"),
    )


def cumulative(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Cumulative reductions along one axis."""
    if factor.position != int(equation.parameters["axis"]):
        return factor
    if _counts(equation):
        return Selects(why="it counts along the axis of the examples", masks=True)
    return Mixes(why="it accumulates along the axis of the examples")


def _counts(equation: Equation) -> bool:
    """Whether whole numbers are added up: bookkeeping, of which nothing may remain.

    A mixture of experts numbers the tokens of each expert this way.
    """
    dtype = getattr(equation.outputs[0].aval, "dtype", jnp.float32)
    return not jnp.issubdtype(dtype, jnp.inexact)


def sort(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Sorts along one axis; with a payload, the order may be undone later."""
    if factor.position != int(equation.parameters["dimension"]):
        return factor
    if len(equation.inputs) == 1:
        return Mixes(why="it sorts along the axis of the examples")
    return Unclear(why="it puts the examples into another order")


def top_k(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Takes the largest elements along one axis, the last one in older versions."""
    last = len(shape_of(equation.inputs[0])) - 1
    axis = int(equation.parameters.get("axis", last)) % (last + 1)
    return factor if factor.position != axis else _CHOOSES


def approx_top_k(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Takes about the largest elements along one axis."""
    rank = len(shape_of(equation.inputs[0]))
    axis = int(equation.parameters["reduction_dimension"]) % rank
    return factor if factor.position != axis else _CHOOSES


_CHOOSES = Unclear(why="it chooses among the examples", lands=False)


def windowed(
    factor: Factor,
    *,
    window: int,
    stride: int,
    padding: tuple[int, int],
    base_dilation: int,
    window_dilation: int,
    length: int,
) -> Outcome:
    """Returns the factor after windows have passed over its axis.

    Args:
        factor: The factor before; its position is kept.
        window: How many elements one window takes.
        stride: From one window to the next.
        padding: Before and after the axis.
        base_dilation: Of the axis.
        window_dilation: Of the window.
        length: Of the axis afterwards.
    """
    reach = (window - 1) * window_dilation + 1
    inside_one_example = (
        reach <= stride
        and base_dilation == 1
        and padding[0] == 0
        and factor.after % stride == 0
        and length == factor.length // stride
    )
    if inside_one_example:
        return Factor(
            position=factor.position,
            before=factor.before,
            count=factor.count,
            after=factor.after // stride,
        )
    if factor.alone and reach > 1 and base_dilation == 1:
        return Mixes(why="its windows span several examples")
    return Unclear(why="its windows may span several examples")


def reduce_window(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Reductions over windows: pooling."""
    parameters, axis = equation.parameters, factor.position
    low, high = parameters["padding"][axis]
    return windowed(
        factor,
        window=int(parameters["window_dimensions"][axis]),
        stride=int(parameters["window_strides"][axis]),
        padding=(int(low), int(high)),
        base_dilation=int(parameters["base_dilation"][axis]),
        window_dilation=int(parameters["window_dilation"][axis]),
        length=shape_of(equation.outputs[0])[axis],
    )


def select_and_scatter_add(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """The derivative of pooling: windows of one element keep the axis."""
    parameters, axis = equation.parameters, factor.position
    low, high = parameters["padding"][axis]
    alone = parameters["window_dimensions"][axis] == 1
    if alone and parameters["window_strides"][axis] == 1 and (low, high) == (0, 0):
        return factor
    return Unclear(why="its windows may span several examples")


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    by_rule: list[tuple[AxisRule, str]] = [
        (summing, "reduce_sum reduce_prod reduce_xor"),
        (selecting, "reduce_max reduce_min reduce_and reduce_or argmax argmin"),
        (reduce_, "reduce"),
        (cumulative, "cumsum cumprod cummax cummin cumlogsumexp"),
        (sort, "sort"),
        (top_k, "top_k"),
        (approx_top_k, "approx_top_k"),
        (
            reduce_window,
            "reduce_window reduce_window_max reduce_window_min reduce_window_sum",
        ),
        (select_and_scatter_add, "select_and_scatter_add"),
        (reduce_window, "select_and_gather_add"),
    ]
    return [
        (primitive, rule)
        for rule, names in by_rule
        for primitive in named(names.split())
    ]
