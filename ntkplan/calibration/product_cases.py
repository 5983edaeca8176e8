"""Programs of matrix products and convolutions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ntkplan.calibration.case import Case, Extent, sizes, take
from ntkplan.cost.work import Operation, OperationKind

_LONG = 65536
"""Most rows, columns or terms: all positions, examples and outputs in one axis."""


def dots(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns single products, of every layout that XLA takes without a copy.

    Half of them are long and thin, as cotangents times weights, or Gram products of
    few rows with a long sum.
    """

    def make(m: int, n: int, k: int, form: int) -> Case:
        left, right, function = (
            ((m, k), (k, n), jnp.dot),
            ((m, k), (n, k), lambda a, b: a @ b.T),
            ((k, m), (k, n), lambda a, b: a.T @ b),
        )[form % 3]
        operation = Operation(
            kind=OperationKind.DOT,
            m=m,
            n=n,
            k=k,
            flops=2 * m * n * k,
            bytes_read=itemsize * (m * k + n * k),
            bytes_written_fresh=itemsize * m * n,
            transposed=form % 3 == 2,
        )
        return Case(operation=operation, function=function, shapes=(left, right))

    def of_vector(rows: int, k: int, form: int) -> Case:
        m, n = (rows, 1) if form % 3 else (1, rows)
        return make(m, n, k, form // 3)

    with_vector = sizes(11, [(1, _LONG), (2, 16384), (1, 60)])
    any_shape = sizes(1, [(1, 4096), (1, 4096), (2, 8192), (1, 40)])
    tall = sizes(2, [(256, _LONG), (1, 1024), (4, 1024), (1, 40)])
    gram = sizes(3, [(1, 512), (1, 512), (256, _LONG), (1, 40)])
    quarter = -(-count // 4)
    return _in_turn(
        take(quarter, any_shape, make, extent),
        take(quarter, tall, make, extent),
        take(quarter, gram, make, extent),
        take(quarter, with_vector, of_vector, extent),
    )[:count]


def batched_dots(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns batches of products: of many small ones, of few large ones."""

    def make(batch: int, m: int, n: int, k: int, form: int) -> Case:
        left, right, text = (
            ((batch, m, k), (batch, k, n), "bmk,bkn->bmn"),
            ((batch, m, k), (batch, n, k), "bmk,bnk->bmn"),
            ((batch, k, m), (batch, k, n), "bkm,bkn->bmn"),
        )[form % 3]
        operation = Operation(
            kind=OperationKind.BATCHED_DOT,
            batch=batch,
            m=m,
            n=n,
            k=k,
            flops=2 * batch * m * n * k,
            bytes_read=itemsize * batch * (m * k + n * k),
            bytes_written_fresh=itemsize * batch * m * n,
            transposed=form % 3 == 2,
        )
        return Case(
            operation=operation,
            function=functools.partial(jnp.einsum, text),
            shapes=(left, right),
        )

    many = sizes(4, [(64, 8192), (1, 128), (1, 128), (2, 512), (1, 40)])
    some = sizes(5, [(4, 512), (1, 1024), (1, 512), (2, 1024), (1, 40)])
    long = sizes(6, [(4, 64), (1, 256), (1, 256), (64, 16384), (1, 40)])

    def of_vectors(batch: int, rows: int, k: int, form: int) -> Case:
        m, n = (rows, 1) if form % 3 else (1, rows)
        return make(batch, m, n, k, form // 3)

    vectors = sizes(12, [(4, 4096), (1, 4096), (2, 4096), (1, 60)])
    quarter = -(-count // 4)
    return _in_turn(
        take(quarter, many, make, extent),
        take(quarter, some, make, extent),
        take(quarter, long, make, extent),
        take(quarter, vectors, of_vectors, extent),
    )[:count]


def _in_turn(*groups: list[Case]) -> list[Case]:
    """Takes one case of each group in turn, so that a part of them is of all kinds."""
    return [case for row in itertools.zip_longest(*groups) for case in row if case]


def _convolve(stride: int, groups: int, image: Any, kernel: Any) -> Any:
    return lax.conv_general_dilated(
        image,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _convolution_sizes(seed: int) -> Iterator[tuple[int, ...]]:
    for n, side, channels, features, taps, rest in sizes(
        seed, [(1, 128), (4, 64), (3, 256), (8, 256), (1, 30), (1, 30)]
    ):
        yield n, side, channels, features, (1, 3, 3, 5)[taps % 4], 1 + (rest % 4 == 0)


def convolutions(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns convolutions of images, with `SAME` padding; some of several groups."""

    def make(
        n: int, side: int, c: int, f: int, taps: int, stride: int, groups: int
    ) -> Case:
        out = -(-side // stride)
        k = taps * taps * c
        operation = Operation(
            kind=OperationKind.CONVOLUTION,
            batch=groups,
            m=n * out * out,
            n=f,
            k=k,
            flops=2 * groups * n * c * f * _pairs(side, taps, stride) ** 2,
            bytes_read=itemsize * groups * (n * side * side * c + k * f),
            bytes_written_fresh=itemsize * groups * n * out * out * f,
        )
        return Case(
            operation=operation,
            function=functools.partial(_convolve, stride, groups),
            shapes=((n, side, side, c * groups), (taps, taps, c, f * groups)),
        )

    def whole(*size: int) -> Case:
        return make(*size[:6], groups=1)

    def grouped(*size: int) -> Case:
        return make(*size[:6], groups=size[0] % 7 + 2)

    few = max(6, -(-count // 4))
    return [
        *take(count - few, _convolution_sizes(7), whole, extent),
        *take(few, _convolution_sizes(10), grouped, _slower(extent)),
    ]


def _slower(extent: Extent) -> Extent:
    """Returns what convolutions in groups can do in the time: some have no library."""
    return dataclasses.replace(extent, most_flops=extent.most_flops / 10)


def _pairs(side: int, taps: int, stride: int) -> int:
    """Counts pairs of position and tap along one side that do not meet padding."""
    out = -(-side // stride)
    padding = max(0, (out - 1) * stride + taps - side)
    return sum(
        0 <= position * stride + tap - padding // 2 < side
        for position in range(out)
        for tap in range(taps)
    )


def kernel_gradients(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns gradients by the kernel: summed over examples, and one for each."""

    def make(
        n: int, side: int, c: int, f: int, taps: int, stride: int, each: bool
    ) -> Case:
        out = -(-side // stride)
        rows = taps * taps * c
        operation = Operation(
            kind=OperationKind.CONVOLUTION_KERNEL_GRADIENT,
            batch=n if each else 1,
            m=rows,
            n=f,
            k=out * out if each else n * out * out,
            flops=2 * n * c * f * _pairs(side, taps, stride) ** 2,
            bytes_read=itemsize * n * (side * side * c + out * out * f),
            bytes_written_fresh=itemsize * rows * f * (n if each else 1),
        )

        def summed(image: Any, cotangent: Any) -> Any:
            kernel = jnp.zeros((taps, taps, c, f), image.dtype)
            pull = jax.vjp(functools.partial(_convolve, stride, 1, image), kernel)[1]
            return pull(cotangent)[0]

        def for_each(image: Any, cotangent: Any) -> Any:
            return jax.vmap(summed)(image[:, None], cotangent[:, None])

        return Case(
            operation=operation,
            function=for_each if each else summed,
            shapes=((n, side, side, c), (n, out, out, f)),
        )

    def together(*size: int) -> Case:
        return make(*size[:6], each=False)

    def apart(*size: int) -> Case:
        return make(*size[:6], each=True)

    half = -(-count // 2)
    return _in_turn(
        take(half, _convolution_sizes(8), together, extent),
        take(half, _convolution_sizes(9), apart, _slower(extent)),
    )[:count]
