"""Work of sums and maxima over axes, cumulative ones and over windows."""

from __future__ import annotations

import math

from ntkplan._jax import Primitive, primitives
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.step import (
    TANGENT,
    Call,
    Fuses,
    Pass,
    Step,
    WorkRule,
    all_reads,
    length_of,
    results_bytes,
)


def rules() -> dict[Primitive, WorkRule]:
    """Returns the rules of this family."""
    found = {
        primitives.reduce_sum_p: WorkRule(
            forward=_reduce, pull=_spread, push=_reduce_tangent
        )
    }
    extreme = WorkRule(forward=_reduce, pull=_choose, push=_reduce_chosen)
    for primitive in (
        primitives.reduce_max_p,
        primitives.reduce_min_p,
        primitives.reduce_prod_p,
        primitives.reduce_and_p,
        primitives.reduce_or_p,
        primitives.reduce_xor_p,
        primitives.reduce_p,
        primitives.argmax_p,
        primitives.argmin_p,
    ):
        found[primitive] = extreme
    cumulative = WorkRule(
        forward=_cumulate, pull=_cumulate_tangent, push=_cumulate_tangent
    )
    for primitive in (
        primitives.cumsum_p,
        primitives.cumprod_p,
        primitives.cummax_p,
        primitives.cummin_p,
        primitives.cumlogsumexp_p,
    ):
        found[primitive] = cumulative
    window = WorkRule(forward=_window, pull=_window_tangent, push=_window_tangent)
    for primitive in (
        primitives.reduce_window_p,
        primitives.reduce_window_sum_p,
        primitives.reduce_window_max_p,
        primitives.reduce_window_min_p,
        primitives.select_and_scatter_p,
        primitives.select_and_scatter_add_p,
        primitives.select_and_gather_add_p,
    ):
        found[primitive] = window
    return found


def reduction(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    *,
    reads: tuple[tuple[int, int], ...],
    written_bytes: int,
    flops: int,
) -> Pass:
    """Returns the pass of a reduction over some axes of a shape.

    It is minor where the axis that lies closest in memory is among the reduced ones.
    """
    reduced = [axis for axis in axes if shape[axis] > 1]
    long = [axis for axis, length in enumerate(shape) if length > 1]
    after = math.prod(shape[axis] for axis in long if reduced and axis > max(reduced))
    k = length_of(shape, tuple(reduced))
    minor = not reduced or max(reduced) == long[-1]
    return Pass(
        kind=OperationKind.REDUCTION_MINOR if minor else OperationKind.REDUCTION_MAJOR,
        reads=reads,
        written_bytes=written_bytes,
        flops=flops,
        m=math.prod(shape) // max(1, k * after),
        n=after,
        k=k,
        fuses=Fuses.END,
    )


def _axes(call: Call) -> tuple[int, ...]:
    axes = call.parameters.get("axes", call.parameters.get("dimensions"))
    assert axes is not None, f"a reduction without axes: {call.parameters}"
    return tuple(axes)


def _reduce(call: Call) -> tuple[Step, ...]:
    operand = call.inputs[0]
    return (
        reduction(
            operand.shape,
            _axes(call),
            reads=all_reads(call),
            written_bytes=results_bytes(call),
            flops=operand.elements * len(call.outputs),
        ),
    )


def _spread(call: Call, operand: int) -> tuple[Step, ...]:
    return (
        Pass(
            reads=((TANGENT, call.result.nbytes),),
            written_bytes=call.inputs[operand].nbytes,
        ),
    )


def _reduce_tangent(call: Call, operand: int) -> tuple[Step, ...]:
    array = call.inputs[operand]
    return (
        reduction(
            array.shape,
            _axes(call),
            reads=((TANGENT, array.nbytes),),
            written_bytes=call.result.nbytes,
            flops=array.elements,
        ),
    )


def _choose(call: Call, operand: int) -> tuple[Step, ...]:
    """Gives the cotangent to the elements that were chosen, equal ones alike."""
    array = call.inputs[operand]
    return (
        Pass(
            reads=((TANGENT, call.result.nbytes), (operand, array.nbytes)),
            written_bytes=array.nbytes,
            flops=array.elements,
            residual_flops=3 * array.elements,
        ),
    )


def _reduce_chosen(call: Call, operand: int) -> tuple[Step, ...]:
    array = call.inputs[operand]
    return (
        reduction(
            array.shape,
            _axes(call),
            reads=((TANGENT, array.nbytes), (operand, array.nbytes)),
            written_bytes=call.result.nbytes,
            flops=3 * array.elements,
        ),
    )


def _cumulate(call: Call) -> tuple[Step, ...]:
    array = call.inputs[0]
    exponential = call.primitive is primitives.cumlogsumexp_p
    # A parallel scan combines every element about twice and keeps its levels.
    return (
        Pass(
            reads=((0, 2 * array.nbytes),),
            written_bytes=2 * array.nbytes,
            flops=2 * array.elements,
            transcendentals=4 * array.elements if exponential else 0,
            fuses=Fuses.NO,
        ),
    )


def _cumulate_tangent(call: Call, operand: int) -> tuple[Step, ...]:
    array = call.inputs[operand]
    linear = call.primitive is primitives.cumsum_p
    return (
        Pass(
            reads=((TANGENT, 2 * array.nbytes), *(() if linear else all_reads(call))),
            written_bytes=2 * array.nbytes,
            flops=(2 if linear else 6) * array.elements,
            fuses=Fuses.NO,
        ),
    )


def _taps(call: Call) -> int:
    return math.prod(call.parameters["window_dimensions"])


def _windows(call: Call) -> int:
    """Returns how many windows there are."""
    if call.primitive in (
        primitives.select_and_scatter_p,
        primitives.select_and_scatter_add_p,
    ):
        return call.inputs[0].elements
    return call.result.elements


def _window(call: Call) -> tuple[Step, ...]:
    return (
        Pass(
            reads=all_reads(call),
            written_bytes=results_bytes(call),
            flops=_windows(call) * _taps(call),
            fuses=Fuses.NO,
        ),
    )


def _window_tangent(call: Call, operand: int) -> tuple[Step, ...]:
    """Sums the same windows, looking for the chosen element where there is one."""
    linear = call.primitive is primitives.reduce_window_sum_p
    array = call.inputs[operand]
    reads = ((TANGENT, call.result.nbytes),)
    return (
        Pass(
            reads=reads if linear else (*reads, (operand, array.nbytes)),
            written_bytes=array.nbytes,
            flops=(1 if linear else 2) * _windows(call) * _taps(call),
            fuses=Fuses.NO,
        ),
    )
