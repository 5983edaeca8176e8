"""Programs that mostly move memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from ntkplan.calibration.case import Case, Extent, fits, sizes, take
from ntkplan.cost.work import Operation, OperationKind

_FORMS: tuple[tuple[Callable[..., Any], int, int, int], ...] = (
    (lambda x: x + 1, 1, 1, 0),
    (lambda x, y: x * y + 1, 2, 2, 0),
    (lambda x, y, z: x * y + z, 3, 2, 0),
    (jnp.tanh, 1, 0, 1),
    (lambda x, y: jnp.exp(x) * y, 2, 1, 1),
    (lambda x, y: y * (1 - x * x), 2, 3, 0),
)
"""Functions with their arguments, operations and transcendentals per element."""


def elementwise(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns passes over vectors, and products of a column with a row or a matrix.

    The longest vectors do not fit into a cache, and their results are new memory.
    """

    def vector(length: int, form: int) -> Case:
        function, inputs, flops, transcendentals = _FORMS[form % len(_FORMS)]
        operation = Operation(
            kind=OperationKind.ELEMENTWISE,
            flops=flops * length,
            transcendentals=transcendentals * length,
            bytes_read=itemsize * inputs * length,
            bytes_written_fresh=itemsize * length,
        )
        shapes = ((length,),) * inputs
        return Case(operation=operation, function=function, shapes=shapes)

    def spread(rows: int, columns: int, form: int) -> Case:
        whole = form % 2
        read = rows + (rows * columns if whole else columns)
        operation = Operation(
            kind=OperationKind.ELEMENTWISE,
            flops=rows * columns,
            bytes_read=itemsize * read,
            bytes_written_fresh=itemsize * rows * columns,
        )
        other = (rows, columns) if whole else (1, columns)
        return Case(
            operation=operation,
            function=lambda x, y: x * y,
            shapes=((rows, 1), other),
        )

    # Results of their own pages: what page faults cost is seen where little is read.
    fresh = [
        case
        for case in (spread(3000, 3000, 0), vector(9_500_000, 0), spread(4096, 4000, 0))
        if fits(case, extent)
    ]
    longest = max(2**16, int(extent.most_bytes / 2 / itemsize))
    many = -(-3 * count // 4)
    drawn = sizes(20, [(4096, longest), (1, 60)], powers=0.0)
    others = sizes(21, [(4, 8192), (4, 8192), (1, 60)])
    found = take(many, drawn, vector, extent) + take(
        count - many, others, spread, extent
    )
    return (fresh + found[::2] + found[1::2])[:count]


def reductions(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns sums and sums of products: over the last axis, and over one before."""

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
        return Case(
            operation=operation,
            function=_sum_of_products if products else _sum,
            shapes=(shape,) * (1 + products),
        )

    minor = sizes(22, [(1, 65536), (4, 65536), (1, 30)])
    major = sizes(23, [(1, 64), (2, 200000), (4, 4096), (1, 30)])
    several = -(-2 * count // 5)
    return [
        *take(several, minor, lambda m, k, form: make(m, 1, k, form), extent),
        *take(count - several, major, make, extent),
    ]


def _sum(values: Any) -> Any:
    return jnp.sum(values, axis=1)


def _sum_of_products(values: Any, others: Any) -> Any:
    return jnp.sum(values * others, axis=1)


_ORDERS = ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0))


def transposes(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns transpositions of three axes, a quarter of them of whole rows."""

    def make(a: int, b: int, c: int, form: int) -> Case:
        order = _ORDERS[form % 4]
        nbytes = itemsize * a * b * c
        operation = Operation(
            kind=OperationKind.TRANSPOSE, bytes_read=nbytes, bytes_written_fresh=nbytes
        )
        return Case(
            operation=operation,
            function=lambda x: lax.optimization_barrier(jnp.transpose(x, order)),
            shapes=((a, b, c),),
        )

    drawn = sizes(24, [(2, 512), (2, 512), (2, 1024), (1, 30)])
    return take(count, drawn, make, extent)


def gathers(itemsize: int, extent: Extent, count: int) -> list[Case]:
    """Returns rows picked from a table, and rows added to one."""

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

    drawn = sizes(25, [(16, 20000), (1, 512), (16, 65536), (1, 30)])
    return take(count, drawn, make, extent)
