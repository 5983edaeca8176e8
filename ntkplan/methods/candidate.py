"""One way to compute one leaf's part of the kernel, with the work that it takes."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterator, Mapping, Sequence

from ntkplan.cost.symbols import Size, most, product, total
from ntkplan.cost.work import Operation, OperationKind, Work, repeated
from ntkplan.ir.statements import (
    Array,
    Contract,
    Cut,
    Match,
    Reduce,
    Scatter,
    Statement,
    Sum,
    Take,
)
from ntkplan.ir.use import Layer
from ntkplan.methods.contraction import contract_operations, reduce_operation
from ntkplan.methods.lookups import look_up_operations
from ntkplan.methods.sharing import Key, keys, renamed, renamed_array


class Method(enum.StrEnum):
    """The methods' names, as users write them."""

    JACOBIAN_CONTRACTION = "jacobian_contraction"
    NTK_VECTOR_PRODUCTS = "ntk_vector_products"
    STRUCTURED_DERIVATIVES = "structured_derivatives"
    SUM_OF_LOGITS = "sum_of_logits"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One method and one contraction order for one leaf.

    Attributes:
        method: The method.
        order: The order of contraction, as `(C1 C2)(A1 A2)`.
        statements: What the kernel function does; empty for a pushed leaf.
        results: Arrays that are added to the kernel, and their factors.
        work: Work of the statements for two different batches.
        symmetric_work: Work where `x2` is absent, so that one side stands for both.
        parts: For every statement its key and how many of the operations in `work` are
            its own. Operations that are left over add the results to the kernel.
        symmetric_parts: Likewise, of `symmetric_work`.
        loop: How many steps the statements are run for; 1 where they are no loop.
        later: Whether the leaf's taps stand after sums over positions.
    """

    method: Method
    order: str
    statements: tuple[Statement, ...]
    results: tuple[tuple[Array, float], ...]
    work: Work
    symmetric_work: Work
    parts: tuple[tuple[Key, int], ...] = ()
    symmetric_parts: tuple[tuple[Key, int], ...] = ()
    loop: int = 1
    later: bool = False

    def keyed(self, *, symmetric: bool) -> Iterator[tuple[Key, Statement]]:
        """Yields the statements that are computed, each after its key.

        Args:
            symmetric: Whether `x2` is absent.
        """
        if not symmetric:
            return zip([key for key, _ in self.parts], self.statements, strict=True)
        needed = _needed_once(self.statements, keys(self.statements))
        kept = itertools.compress(self.statements, needed)
        return zip([key for key, _ in self.symmetric_parts], kept, strict=True)

    def tapped_later(self) -> Candidate:
        """Returns the same candidate, made of a layer's `later`, as one of the leaf."""
        return dataclasses.replace(
            self, later=True, order=f"{self.order}, tapped later"
        )

    def layer_of(self, layer: Layer) -> Layer:
        """Returns the layer whose taps and records the statements read.

        Args:
            layer: The layer of the leaf.
        """
        return layer.later or layer if self.later else layer

    def renamed(self, names: Mapping[str, str]) -> Candidate:
        """Returns the same candidate for a leaf of the same form.

        Args:
            names: For every array that the kernel function is given and the statements
                name, what it is called for the other leaf.
        """
        return dataclasses.replace(
            self,
            statements=tuple(renamed(item, names) for item in self.statements),
            results=tuple(
                (renamed_array(array, names), factor) for array, factor in self.results
            ),
            parts=tuple((key.renamed(names), count) for key, count in self.parts),
            symmetric_parts=tuple(
                (key.renamed(names), count) for key, count in self.symmetric_parts
            ),
        )


def sides(statements: Sequence[Statement]) -> Iterator[frozenset[int]]:
    """Yields, for every statement, the sides of the kernel that it depends on."""
    known: dict[str, frozenset[int]] = {}
    for statement in statements:
        found = frozenset[int]().union(
            *(
                known.get(array.name) or frozenset((int(array.name.rsplit(":")[-1]),))
                for array in statement.sources
            )
        )
        known[statement.target.name] = found
        yield found


def candidate(
    *,
    method: Method,
    order: str,
    statements: Sequence[Statement],
    results: Sequence[tuple[Array, float]],
    sizes: Mapping[str, Size],
    itemsize: int,
    loop: int = 1,
) -> Candidate:
    """Prices statements and makes a candidate of them."""
    both = list(statements)
    named = keys(both)
    counted = [
        (key, repeated(statement_operations(statement, sizes, itemsize), loop))
        for key, statement in zip(named, both, strict=True)
    ]
    needed = _needed_once(both, named)
    one = [statement for statement, kept in zip(both, needed, strict=True) if kept]
    counted_one = [item for item, kept in zip(counted, needed, strict=True) if kept]
    added = repeated(
        [_accumulation(array, sizes, itemsize) for array, _ in results], loop
    )

    def work(
        chosen: Sequence[Statement], parts: Sequence[tuple[Key, tuple[Operation, ...]]]
    ) -> Work:
        operations = (operation for _, many in parts for operation in many)
        peak_bytes, uncopied = _peak_bytes(chosen, parts, results, sizes, itemsize)
        return Work(
            operations=(*operations, *added),
            peak_bytes=peak_bytes,
            uncopied_peak_bytes=uncopied,
        )

    return Candidate(
        method=method,
        order=order,
        statements=tuple(both),
        results=tuple(results),
        work=work(both, counted),
        symmetric_work=work(one, counted_one),
        parts=tuple((key, len(many)) for key, many in counted),
        symmetric_parts=tuple((key, len(many)) for key, many in counted_one),
        loop=loop,
    )


def _needed_once(statements: Sequence[Statement], named: Sequence[Key]) -> list[bool]:
    """Says of each statement whether it is computed where both sides are the same.

    One of the second side is not, if there is its twin of the first.

    Args:
        statements: The statements.
        named: Their keys.
    """
    depends = list(sides(statements))
    first = {
        key
        for key, found in zip(named, depends, strict=True)
        if found == frozenset((0,))
    }
    twins = keys(statements, as_first=True)
    return [
        found != frozenset((1,)) or twin not in first
        for found, twin in zip(depends, twins, strict=True)
    ]


def statement_operations(
    statement: Statement, sizes: Mapping[str, Size], itemsize: int
) -> tuple[Operation, ...]:
    """Counts the operations of one statement."""
    match statement:
        case Contract():
            return contract_operations(statement, sizes, itemsize)
        case Match() | Scatter() | Take():
            return look_up_operations(statement, sizes, itemsize)
        case Reduce():
            return (reduce_operation(statement, sizes, itemsize),)
        case Cut():
            written = product(itemsize, _entries(statement.target, sizes))
            return (
                Operation(
                    kind=OperationKind.TRANSPOSE,
                    bytes_read=written,
                    bytes_written_fresh=written,
                ),
            )
        case Sum():
            written = product(itemsize, _entries(statement.target, sizes))
            return (
                Operation(
                    kind=OperationKind.ELEMENTWISE,
                    flops=_entries(statement.target, sizes) * len(statement.terms),
                    bytes_read=written * len(statement.terms),
                    bytes_written_fresh=written,
                ),
            )


def _accumulation(array: Array, sizes: Mapping[str, Size], itemsize: int) -> Operation:
    """Counts the addition of a leaf's part to the kernel."""
    entries = _entries(array, sizes)
    return Operation(
        kind=OperationKind.ELEMENTWISE,
        flops=entries,
        bytes_read=product(2, itemsize, entries),
        bytes_written_reused=product(itemsize, entries),
    )


def _entries(array: Array, sizes: Mapping[str, Size]) -> Size:
    return product(*(sizes[label] for label in array.labels))


def _peak_bytes(
    statements: Sequence[Statement],
    parts: Sequence[tuple[Key, tuple[Operation, ...]]],
    results: Sequence[tuple[Array, float]],
    sizes: Mapping[str, Size],
    itemsize: int,
) -> tuple[Size, Size]:
    """Walks the statements and keeps what later ones read: most bytes at any one.

    Transposed copies of operands and results are alive while their statement runs.

    Returns:
        Bytes with these copies, and without them.
    """
    last_read: dict[str, int] = {array.name: len(statements) for array, _ in results}
    for number, statement in enumerate(statements):
        for array in statement.sources:
            last_read[array.name] = max(last_read.get(array.name, 0), number)
    alive: dict[str, Size] = {}
    peaks: list[Size] = []
    uncopied: list[Size] = []
    for number, statement in enumerate(statements):
        entries = _entries(statement.target, sizes)
        alive[statement.target.name] = product(itemsize, entries)
        copies = _copies(statement, parts[number][1])
        kept = {name: size for name, size in alive.items() if last_read[name] > number}
        # Where nothing is copied or let go of, more is alive at the next statement.
        is_last = number == len(statements) - 1
        if copies or len(kept) < len(alive) or is_last:
            uncopied.append(total(*alive.values()))
            peaks.append(total(uncopied[-1], *copies))
        alive = kept
    return most(*peaks), most(*uncopied)


def _copies(statement: Statement, operations: Sequence[Operation]) -> list[Size]:
    """Returns the bytes of the transposed copies that a statement has alive at once.

    Where a product has no axis of one operand alone, a compiler multiplies entry by
    entry before it sums, and makes no copy but of that.
    """
    copies = [
        operation.bytes_written_fresh
        for operation in operations
        if operation.kind is OperationKind.TRANSPOSE
    ]
    if isinstance(statement, Contract):
        alone = set(statement.left.labels) ^ set(statement.right.labels)
        return copies if alone else copies[:1]
    return copies
