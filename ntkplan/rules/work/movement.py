"""Work of primitives that only move, copy, pick or make elements."""

from __future__ import annotations

import jax

from ntkplan._jax import Primitive, primitives
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.reductions import reduction
from ntkplan.rules.work.step import (
    TANGENT,
    Call,
    Fuses,
    Pass,
    Step,
    WorkRule,
    alias,
    all_reads,
    results_bytes,
)


def rules() -> dict[Primitive, WorkRule]:
    """Returns the rules of this family."""
    free = WorkRule(
        forward=lambda call: alias(0),
        pull=lambda call, operand: alias(TANGENT),
        push=lambda call, operand: alias(TANGENT),
    )
    copied = WorkRule(forward=_copy, pull=_copy_pull, push=_copy_push)
    found = {
        primitives.reshape_p: free,
        primitives.squeeze_p: free,
        primitives.broadcast_in_dim_p: WorkRule(
            forward=_copy, pull=_broadcast_pull, push=_copy_push
        ),
        primitives.transpose_p: WorkRule(
            forward=_transpose, pull=_transpose_tangent, push=_transpose_tangent
        ),
        primitives.gather_p: WorkRule(
            forward=_gather, pull=_gather_pull, push=_gather_push
        ),
    }
    for primitive in (
        primitives.slice_p,
        primitives.dynamic_slice_p,
        primitives.dynamic_update_slice_p,
        primitives.rev_p,
        primitives.pad_p,
        primitives.concatenate_p,
        primitives.iota_p,
        jax.lax.split_p,
        *_newer("stack_p", "unstack_p", "tile_p"),
    ):
        found[primitive] = copied
    for primitive in (
        primitives.scatter_p,
        primitives.scatter_add_p,
        primitives.scatter_mul_p,
        primitives.scatter_min_p,
        primitives.scatter_max_p,
        *_newer("scatter_sub_p"),
    ):
        found[primitive] = WorkRule(
            forward=_scatter, pull=_scatter_pull, push=_scatter_push
        )
    return found


def _newer(*names: str) -> list[Primitive]:
    """Returns the primitives among these that this version of JAX has."""
    return [getattr(jax.lax, name) for name in names if hasattr(jax.lax, name)]


def _copy(call: Call) -> tuple[Step, ...]:
    """Reads of every operand no more than what is written."""
    written_bytes = results_bytes(call)
    reads = tuple(
        (index, min(array.nbytes, written_bytes))
        for index, array in enumerate(call.inputs)
    )
    return (Pass(reads=reads, written_bytes=written_bytes),)


def _copy_pull(call: Call, operand: int) -> tuple[Step, ...]:
    nbytes = call.inputs[operand].nbytes
    read_bytes = min(nbytes, results_bytes(call))
    return (Pass(reads=((TANGENT, read_bytes),), written_bytes=nbytes),)


def _copy_push(call: Call, operand: int) -> tuple[Step, ...]:
    written_bytes = results_bytes(call)
    read_bytes = min(call.inputs[operand].nbytes, written_bytes)
    return (Pass(reads=((TANGENT, read_bytes),), written_bytes=written_bytes),)


def _broadcast_pull(call: Call, operand: int) -> tuple[Step, ...]:
    array, result = call.inputs[operand], call.result
    if array.elements == result.elements:
        return alias(TANGENT)
    kept = {
        place
        for axis, place in enumerate(call.parameters["broadcast_dimensions"])
        if array.shape[axis] == result.shape[place]
    }
    return (
        reduction(
            result.shape,
            tuple(axis for axis in range(len(result.shape)) if axis not in kept),
            reads=((TANGENT, result.nbytes),),
            written_bytes=array.nbytes,
            flops=result.elements,
        ),
    )


def _moves(call: Call) -> bool:
    """Whether a transposition changes the order of elements in memory."""
    shape = call.inputs[0].shape
    long = [axis for axis in call.parameters["permutation"] if shape[axis] > 1]
    return long != sorted(long)


def _transpose(call: Call) -> tuple[Step, ...]:
    return _transposed(call, 0)


def _transpose_tangent(call: Call, operand: int) -> tuple[Step, ...]:
    return _transposed(call, TANGENT)


def _transposed(call: Call, read: int) -> tuple[Step, ...]:
    if not _moves(call):
        return alias(read)
    nbytes = call.result.nbytes
    return (
        Pass(
            kind=OperationKind.TRANSPOSE,
            reads=((read, nbytes),),
            written_bytes=nbytes,
            fuses=Fuses.NO,
        ),
    )


def _gather(call: Call) -> tuple[Step, ...]:
    result = call.result
    reads = ((0, result.nbytes), (1, call.inputs[1].nbytes))
    return (_picked(reads, result.nbytes),)


def _gather_pull(call: Call, operand: int) -> tuple[Step, ...]:
    """Adds every row of the cotangent to a table that starts as zeros."""
    result = call.result
    return (
        _picked(
            ((TANGENT, 2 * result.nbytes), (1, call.inputs[1].nbytes)),
            call.inputs[0].nbytes,
            result.elements,
        ),
    )


def _gather_push(call: Call, operand: int) -> tuple[Step, ...]:
    nbytes = call.result.nbytes
    return (_picked(((TANGENT, nbytes), (1, call.inputs[1].nbytes)), nbytes),)


def _picked(
    reads: tuple[tuple[int, int], ...], written_bytes: int, flops: int = 0
) -> Pass:
    return Pass(
        kind=OperationKind.GATHER,
        reads=reads,
        written_bytes=written_bytes,
        flops=flops,
        fuses=Fuses.NO,
    )


def _scatter(call: Call) -> tuple[Step, ...]:
    return (_picked(all_reads(call), call.result.nbytes, call.inputs[2].elements),)


def _scatter_pull(call: Call, operand: int) -> tuple[Step, ...]:
    array = call.inputs[operand]
    indices = (1, call.inputs[1].nbytes)
    return (_picked(((TANGENT, array.nbytes), indices), array.nbytes),)


def _scatter_push(call: Call, operand: int) -> tuple[Step, ...]:
    reads = ((TANGENT, call.inputs[operand].nbytes), (1, call.inputs[1].nbytes))
    return (_picked(reads, call.result.nbytes, call.inputs[2].elements),)
