"""Products with one-hot arrays, of which only the indices are kept.

Two of them match or do not; a dense array either has the rows, which are taken, or has
none, and is summed into them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from ntkplan.cost.symbols import Size, product, total
from ntkplan.cost.work import Operation, OperationKind
from ntkplan.ir.statements import Array, Match, Scatter, Take


class ImpossibleOrderError(Exception):
    """An order of contraction that would make a look-up dense."""


def look_up(
    left: Array,
    right: Array,
    wanted: Collection[str],
    sizes: Mapping[str, Size],
    name: str,
) -> Match | Scatter | Take:
    """Returns the statement that multiplies two arrays, at least one of them one-hot.

    Args:
        left: An operand.
        right: The other.
        wanted: Labels that are needed later on. What the result has beyond them is
            left to be summed.
        sizes: Length of every label.
        name: What the result is called.

    Raises:
        ImpossibleOrderError: The product cannot be had without making it dense.
    """
    if left.hot is not None and right.hot is not None:
        return _match(left, right, wanted, sizes, name)
    rows, source = (left, right) if left.hot is not None else (right, left)
    row = str(rows.hot)
    if row in source.labels:
        if row in wanted:
            raise ImpossibleOrderError(name)
        own = [label for label in rows.stored if label not in source.labels]
        kept = [label for label in rows.stored if label in source.labels]
        rest = [x for x in source.labels if x != row and x not in kept]
        target = Array(name=name, labels=(*kept, *own, *rest))
        return Take(target=target, source=source, rows=rows)
    if row not in wanted or not set(rows.stored) <= set(source.labels):
        raise ImpossibleOrderError(name)
    kept = [label for label in rows.stored if label in wanted]
    rest = [x for x in source.labels if x not in rows.stored]
    target = Array(name=name, labels=(*kept, row, *rest))
    return Scatter(target=target, source=source, rows=rows, size=cast(int, sizes[row]))


def _match(
    left: Array,
    right: Array,
    wanted: Collection[str],
    sizes: Mapping[str, Size],
    name: str,
) -> Match:
    if left.hot != right.hot or left.hot in wanted:
        raise ImpossibleOrderError(name)
    more = (label for label in right.stored if label not in left.stored)
    target = Array(name=name, labels=(*left.stored, *more))
    return Match(
        target=target, left=left, right=right, size=cast(int, sizes[str(left.hot)])
    )


def look_up_operations(
    statement: Match | Scatter | Take, sizes: Mapping[str, Size], itemsize: int
) -> tuple[Operation, ...]:
    """Counts a product with a one-hot array."""

    def entries(array: Array) -> Size:
        return product(*(sizes[label] for label in array.stored))

    written = entries(statement.target)
    match statement:
        case Match():
            read = total(entries(statement.left), entries(statement.right))
            kind, flops = OperationKind.ELEMENTWISE, written
        case Scatter():
            read = total(entries(statement.source), entries(statement.rows), written)
            kind, flops = OperationKind.GATHER, entries(statement.source)
        case Take():
            read = total(written, entries(statement.rows))
            kind, flops = OperationKind.GATHER, 0
    return (
        Operation(
            kind=kind,
            flops=flops,
            bytes_read=product(itemsize, read),
            bytes_written_fresh=product(itemsize, written),
        ),
    )
