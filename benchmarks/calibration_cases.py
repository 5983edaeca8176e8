"""The programs that calibration times, class by class, with what each of them does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan.cost.work import Operation, OperationKind

_MOST_FLOPS = 1.5e9
_MOST_BYTES = 28e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One program of one operation.

    Attributes:
        operation: What it does, for an itemsize of `itemsize`.
        function: The program, to be jitted.
        shapes: Shapes of its arguments; a tuple that starts with "index" stands for
            whole numbers below its second entry, of the shape that follows.
    """

    operation: Operation
    function: Callable[..., Any]
    shapes: tuple[tuple[Any, ...], ...]


def all_cases(itemsize: int) -> list[Case]:
    """Returns every case, for numbers of that many bytes; always the same ones."""
    return [
        *_dots(itemsize),
        *_batched_dots(itemsize),
        *_convolutions(itemsize),
        *_kernel_gradients(itemsize),
        *_elementwise(itemsize),
        *_reductions(itemsize),
        *_transposes(itemsize),
        *_gathers(itemsize),
    ]


def _sizes(seed: int, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, ...]]:
    """Yields sizes, evenly spread in the logarithm."""
    generator = np.random.default_rng(seed)
    low, high = np.log(np.asarray(ranges, float)).T
    while True:
        logs = low + (high - low) * generator.random(len(ranges))
        yield tuple(round(math.exp(size)) for size in logs)


def _take(
    count: int,
    sizes: Iterator[tuple[int, ...]],
    make: Callable[..., Case],
) -> list[Case]:
    """Makes cases until there are enough that are neither too small nor too large."""
    found: list[Case] = []
    while len(found) < count:
        case = make(*next(sizes))
        work = case.operation.__dict__
        moved = work["bytes_read"] + work["bytes_written_fresh"]
        if work["flops"] <= _MOST_FLOPS and moved <= _MOST_BYTES:
            found.append(case)
    return found


def _dots(itemsize: int) -> list[Case]:
    def make(m: int, n: int, k: int, form: int = 0) -> Case:
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
        )
        return Case(operation=operation, function=function, shapes=(left, right))

    thin = ((1, 512, 512), (4, 512, 512), (16, 512, 512), (512, 512, 16))
    long = ((16, 16, 65536), (512, 4, 512), (8, 1024, 1024), (1024, 1024, 4))
    square = ((32, 32, 32), (128, 128, 128), (512, 512, 512), (768, 768, 768))
    fixed = [make(*size, form) for form, size in enumerate((*thin, *long, *square))]
    sizes = _sizes(1, [(1, 2048), (1, 2048), (4, 4096), (1, 40)])
    return fixed + _take(36, sizes, make)


def _batched_dots(itemsize: int) -> list[Case]:
    def make(batch: int, m: int, n: int, k: int, form: int = 0) -> Case:
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
        )
        return Case(
            operation=operation,
            function=lambda a, b: jnp.einsum(text, a, b),
            shapes=(left, right),
        )

    fixed = [
        make(*size)
        for size in (
            *((1000, 8, 8, 8), (1000, 32, 32, 32), (1024, 1, 64, 64)),
            *((64, 16, 16, 512), (256, 10, 10, 512), (16, 128, 128, 128)),
            *((256, 10, 512, 10), (4096, 4, 4, 4)),
        )
    ]
    sizes = _sizes(2, [(4, 4096), (1, 256), (1, 256), (1, 512), (1, 40)])
    return fixed + _take(40, sizes, make)


def _convolve(image: Any, kernel: Any, stride: int) -> Any:
    return lax.conv_general_dilated(
        image,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _convolution_sizes(seed: int) -> Iterator[tuple[int, ...]]:
    for n, side, channels, features, taps, rest in _sizes(
        seed, [(1, 64), (4, 40), (3, 256), (8, 256), (1, 30), (1, 30)]
    ):
        yield n, side, channels, features, (1, 3, 3, 5)[taps % 4], 1 + (rest % 4 == 0)


def _convolutions(itemsize: int) -> list[Case]:
    def make(n: int, side: int, c: int, f: int, taps: int, stride: int) -> Case:
        out = -(-side // stride)
        k = taps * taps * c
        operation = Operation(
            kind=OperationKind.CONVOLUTION,
            m=n * out * out,
            n=f,
            k=k,
            flops=2 * n * out * out * f * k,
            bytes_read=itemsize * (n * side * side * c + k * f),
            bytes_written_fresh=itemsize * n * out * out * f,
        )
        return Case(
            operation=operation,
            function=lambda image, kernel: _convolve(image, kernel, stride),
            shapes=((n, side, side, c), (taps, taps, c, f)),
        )

    return _take(28, _convolution_sizes(3), make)


def _kernel_gradients(itemsize: int) -> list[Case]:
    """Gradients with respect to the kernel: summed over examples, and one for each."""

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
            flops=2 * n * out * out * f * rows,
            bytes_read=itemsize * n * (side * side * c + out * out * f),
            bytes_written_fresh=itemsize * rows * f * (n if each else 1),
        )

        def summed(image: Any, cotangent: Any) -> Any:
            kernel = jnp.zeros((taps, taps, c, f), image.dtype)
            return jax.vjp(lambda k: _convolve(image, k, stride), kernel)[1](cotangent)

        def for_each(image: Any, cotangent: Any) -> Any:
            return jax.vmap(summed)(image[:, None], cotangent[:, None])

        return Case(
            operation=operation,
            function=for_each if each else summed,
            shapes=((n, side, side, c), (n, out, out, f)),
        )

    return [
        *_take(12, _convolution_sizes(4), lambda *size: make(*size, each=False)),
        *_take(16, _convolution_sizes(5), lambda *size: make(*size, each=True)),
    ]


def _elementwise(itemsize: int) -> list[Case]:
    forms: list[tuple[Callable[..., Any], int, int, int]] = [
        (lambda x: x + 1, 1, 1, 0),
        (lambda x, y: x * y + 1, 2, 2, 0),
        (lambda x, y, z: x * y + z, 3, 2, 0),
        (jnp.tanh, 1, 0, 1),
        (lambda x, y: jnp.exp(x) * y, 2, 1, 1),
        (lambda x, y: y * (1 - x * x), 2, 3, 0),
    ]
    # Beyond 32 MiB results are fresh pages; these sizes tell what that costs.
    lengths = [256, 4096, 16384, 65536, 2**18, 2**20, 3 * 2**20, 2**23 + 2**20, 2**24]
    found: list[Case] = []
    for number, length in enumerate(lengths):
        for function, inputs, flops, transcendentals in forms[number % 2 :: 2]:
            operation = Operation(
                kind=OperationKind.ELEMENTWISE,
                flops=flops * length,
                transcendentals=transcendentals * length,
                bytes_read=itemsize * inputs * length,
                bytes_written_fresh=itemsize * length,
            )
            shapes = ((length,),) * inputs
            case = Case(operation=operation, function=function, shapes=shapes)
            found.append(case)
    return found


def _reductions(itemsize: int) -> list[Case]:
    """Sums and sums of products: over the last axis, and over one before it."""

    def make(m: int, n: int, k: int, form: int) -> Case:
        products = form % 2
        minor = n == 1
        kind = OperationKind.REDUCTION_MINOR if minor else OperationKind.REDUCTION_MAJOR
        elements = m * n * k
        operation = Operation(
            kind=kind,
            m=m,
            n=n,
            k=k,
            flops=elements * (1 + products),
            bytes_read=itemsize * elements * (1 + products),
            bytes_written_fresh=itemsize * m * n,
        )
        shape = (m, k) if minor else (m, k, n)
        function = (
            (lambda x, y: jnp.sum(x * y, axis=1))
            if products
            else (lambda x: jnp.sum(x, axis=1))
        )
        return Case(
            operation=operation, function=function, shapes=(shape,) * (1 + products)
        )

    minor = _sizes(6, [(1, 20000), (4, 65536), (1, 30)])
    major = _sizes(7, [(1, 64), (2, 200000), (4, 4096), (1, 30)])
    return [
        *_take(24, minor, lambda m, k, form: make(m, 1, k, form)),
        *_take(36, major, make),
    ]


def _transposes(itemsize: int) -> list[Case]:
    def make(a: int, b: int, c: int, form: int) -> Case:
        order = ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0))[form % 4]
        nbytes = itemsize * a * b * c
        operation = Operation(
            kind=OperationKind.TRANSPOSE, bytes_read=nbytes, bytes_written_fresh=nbytes
        )
        return Case(
            operation=operation,
            function=lambda x: lax.optimization_barrier(jnp.transpose(x, order)),
            shapes=((a, b, c),),
        )

    return _take(24, _sizes(8, [(2, 512), (2, 512), (2, 1024), (1, 30)]), make)


def _gathers(itemsize: int) -> list[Case]:
    def make(rows: int, width: int, picked: int, form: int) -> Case:
        adds = form % 2
        table, result = itemsize * rows * width, itemsize * picked * width
        operation = Operation(
            kind=OperationKind.GATHER,
            flops=picked * width if adds else 0,
            bytes_read=(2 * result if adds else result) + 4 * picked,
            bytes_written_fresh=table if adds else result,
        )

        def scatter(values: Any, index: Any) -> Any:
            empty = jnp.zeros((rows, width), values.dtype)
            return empty.at[index].add(values)

        return Case(
            operation=operation,
            function=scatter if adds else (lambda values, index: values[index]),
            shapes=(
                (picked, width) if adds else (rows, width),
                ("index", rows, picked),
            ),
        )

    return _take(24, _sizes(9, [(16, 20000), (1, 512), (16, 65536), (1, 30)]), make)
