"""Work of matrix products and convolutions."""

from __future__ import annotations

import dataclasses
import functools
import math

from ntkplan._jax import Primitive, primitives
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.step import (
    TANGENT,
    Call,
    Fuses,
    Pass,
    Product,
    Step,
    WorkRule,
    length_of,
)


def rules() -> dict[Primitive, WorkRule]:
    """Returns the rules of this family."""
    return {
        primitives.dot_general_p: WorkRule(
            forward=_dot, pull=_dot_pull, push=_dot_push
        ),
        primitives.conv_general_dilated_p: WorkRule(
            forward=_convolution, pull=_convolution_pull, push=_convolution_push
        ),
    }


def _dot(call: Call) -> tuple[Step, ...]:
    return (*_rearrangements(call), _dot_product(call))


def _dot_product(call: Call) -> Product:
    contracted, batched = call.parameters["dimension_numbers"]
    left, right = call.inputs
    batch = length_of(left.shape, batched[0])
    k = length_of(left.shape, contracted[0])
    m = left.elements // max(1, batch * k)
    n = right.elements // max(1, batch * k)
    return Product(
        left=0,
        right=1,
        left_bytes=left.nbytes,
        right_bytes=right.nbytes,
        written_bytes=call.result.nbytes,
        batch=batch,
        m=m,
        n=n,
        k=k,
        flops=2 * batch * m * n * k,
        transposed=_is_transposed(left.shape, contracted[0], batched[0]),
    )


def _is_transposed(
    shape: tuple[int, ...], contracted: tuple[int, ...], batched: tuple[int, ...]
) -> bool:
    """Whether the contracted axes of the left operand come before the free ones."""
    free = [
        axis
        for axis, length in enumerate(shape)
        if length > 1 and axis not in (*contracted, *batched)
    ]
    summed = [axis for axis in contracted if shape[axis] > 1]
    return bool(free) and bool(summed) and max(summed) < min(free)


def _rearrangements(call: Call) -> list[Pass]:
    """Returns the copies of operands whose axes no product can take as they lie.

    Batch axes come first in memory, then the free and the contracted axes, each kind
    together, in either order.
    """
    contracted, batched = call.parameters["dimension_numbers"]
    copies: list[Pass] = []
    for index, array in enumerate(call.inputs):
        kinds = ["free"] * len(array.shape)
        for axis in contracted[index]:
            kinds[axis] = "contracted"
        for axis in batched[index]:
            kinds[axis] = "batch"
        runs = [
            kind
            for axis, kind in enumerate(kinds)
            if array.shape[axis] > 1
            and (axis == 0 or kind != _kind_before(kinds, array.shape, axis))
        ]
        in_order = len(runs) == len(set(runs)) and "batch" not in runs[1:]
        if not in_order:
            copies.append(
                Pass(
                    kind=OperationKind.TRANSPOSE,
                    reads=((index, array.nbytes),),
                    written_bytes=array.nbytes,
                    fuses=Fuses.NO,
                )
            )
    return copies


def _kind_before(kinds: list[str], shape: tuple[int, ...], axis: int) -> str | None:
    """Returns the kind of the last axis before this one that is longer than one."""
    for before in range(axis - 1, -1, -1):
        if shape[before] > 1:
            return kinds[before]
    return None


def _dot_pull(call: Call, operand: int) -> tuple[Step, ...]:
    product = _dot_product(call)
    written_bytes = call.inputs[operand].nbytes
    if operand == 0:
        return (
            dataclasses.replace(
                product,
                left=TANGENT,
                left_bytes=call.result.nbytes,
                written_bytes=written_bytes,
                n=product.k,
                k=product.n,
                transposed=False,
            ),
        )
    return (
        dataclasses.replace(
            product,
            right=TANGENT,
            right_bytes=call.result.nbytes,
            written_bytes=written_bytes,
            m=product.k,
            k=product.m,
            # The left operand is the same array, and what was free is contracted.
            transposed=not product.transposed,
        ),
    )


def _dot_push(call: Call, operand: int) -> tuple[Step, ...]:
    side = "left" if operand == 0 else "right"
    return (dataclasses.replace(_dot_product(call), **{side: TANGENT}),)


def _convolution(call: Call) -> tuple[Step, ...]:
    return (_convolution_product(call),)


def _convolution_product(call: Call) -> Product:
    parameters = call.parameters
    numbers = parameters["dimension_numbers"]
    image, kernel = call.inputs
    taps = math.prod(kernel.shape[axis] for axis in numbers.rhs_spec[2:])
    channels = kernel.shape[numbers.rhs_spec[1]]
    features = kernel.shape[numbers.rhs_spec[0]]
    groups = parameters["feature_group_count"] * parameters["batch_group_count"]
    positions = call.result.elements // max(1, features)
    if parameters["batch_group_count"] > 1:
        examples = image.shape[numbers.lhs_spec[0]] // parameters["batch_group_count"]
    else:
        examples = image.shape[numbers.lhs_spec[0]]
    return Product(
        kind=OperationKind.CONVOLUTION,
        left=0,
        right=1,
        left_bytes=image.nbytes,
        right_bytes=kernel.nbytes,
        written_bytes=call.result.nbytes,
        batch=groups,
        m=positions,
        n=features // groups,
        k=taps * channels,
        flops=2 * examples * features * channels * _valid_pairs(call),
    )


def _valid_pairs(call: Call) -> int:
    """Counts pairs of position and tap that meet the image, not its padding."""
    parameters = call.parameters
    numbers = parameters["dimension_numbers"]
    image, kernel = call.inputs
    return math.prod(
        _valid_pairs_along(
            size=image.shape[numbers.lhs_spec[2 + number]],
            positions=call.result.shape[numbers.out_spec[2 + number]],
            taps=kernel.shape[numbers.rhs_spec[2 + number]],
            stride=parameters["window_strides"][number],
            low=low,
            image_dilation=parameters["lhs_dilation"][number],
            kernel_dilation=parameters["rhs_dilation"][number],
        )
        for number, (low, _) in enumerate(parameters["padding"])
    )


@functools.lru_cache(maxsize=1024)
def _valid_pairs_along(
    *,
    size: int,
    positions: int,
    taps: int,
    stride: int,
    low: int,
    image_dilation: int,
    kernel_dilation: int,
) -> int:
    """Counts the pairs along one axis; the same few axes are asked for again."""
    last = (size - 1) * image_dilation
    places = (
        position * stride + tap * kernel_dilation - low
        for position in range(positions)
        for tap in range(taps)
    )
    return sum(0 <= place <= last and place % image_dilation == 0 for place in places)


def _convolution_pull(call: Call, operand: int) -> tuple[Step, ...]:
    product = _convolution_product(call)
    written_bytes = call.inputs[operand].nbytes
    if operand == 0:
        numbers = call.parameters["dimension_numbers"]
        kernel = call.inputs[1]
        channels = kernel.shape[numbers.rhs_spec[1]]
        groups = call.parameters["feature_group_count"]
        positions = call.inputs[0].elements // max(1, channels * groups)
        return (
            dataclasses.replace(
                product,
                left=TANGENT,
                left_bytes=call.result.nbytes,
                written_bytes=written_bytes,
                m=positions,
                n=channels,
                k=product.k // max(1, channels) * product.n,
            ),
        )
    return (
        dataclasses.replace(
            product,
            kind=OperationKind.CONVOLUTION_KERNEL_GRADIENT,
            right=TANGENT,
            right_bytes=call.result.nbytes,
            written_bytes=written_bytes,
            m=product.k,
            k=product.m,
        ),
    )


def _convolution_push(call: Call, operand: int) -> tuple[Step, ...]:
    side = "left" if operand == 0 else "right"
    return (dataclasses.replace(_convolution_product(call), **{side: TANGENT}),)
