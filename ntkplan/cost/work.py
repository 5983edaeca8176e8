"""Work: what a computation does, in counts; never how long it takes."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

import sympy

from ntkplan.cost.symbols import Size


class OperationKind(enum.StrEnum):
    """Classes of operations that a device runs at rates of their own."""

    DOT = "dot"
    BATCHED_DOT = "batched_dot"
    CONVOLUTION = "convolution"
    CONVOLUTION_KERNEL_GRADIENT = "convolution_kernel_gradient"
    ELEMENTWISE = "elementwise"
    REDUCTION_MINOR = "reduction_minor"
    REDUCTION_MAJOR = "reduction_major"
    TRANSPOSE = "transpose"
    GATHER = "gather"
    LOOP = "loop"
    """The iterations of a loop, counted in `repeats`; what they compute is apart."""


class Variant(enum.StrEnum):
    """Ways of running operations of one class that have rates of their own."""

    PLAIN = "plain"
    TRANSPOSED = "transposed"
    """Products whose left operand has the contracted axis before the free one."""
    VECTOR = "vector"
    """Products with a vector: `m` or `n` is 1."""
    TRANSPOSED_VECTOR = "transposed_vector"
    """Both: the matrix is read across its rows, which can be very slow."""
    GROUPED = "grouped"
    """Convolutions, and their kernel gradients, of several independent groups."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation as a device sees it.

    Attributes:
        kind: Its class.
        batch: How many independent products of one launch (1 where there are none).
        m: Rows of one product; of a reduction, what is kept of the axes before the
            first reduced one.
        n: Columns of one product; of a reduction, what is kept of the axes after it,
            which is how far apart in memory two terms of a sum lie.
        k: Length of the contracted or reduced axis.
        flops: Floating-point additions and multiplications, of all products.
        transcendentals: Evaluations of exp, tanh and the like.
        bytes_read: Bytes read from memory.
        bytes_written_fresh: Bytes written to memory that was just allocated.
        bytes_written_reused: Bytes written to memory that was in use before.
        repeats: How often the operation is launched; the counts above are totals.
        in_loop: Whether it is launched in the body of a loop.
        transposed: Of a product, whether the contracted axis of its left operand lies
            before the free one in memory, which some libraries cannot take as it is.
        entrywise: Of a batched product, whether it may be a product and a sum of arrays
            where that is faster.
    """

    kind: OperationKind
    batch: Size = 1
    m: Size = 1
    n: Size = 1
    k: Size = 1
    flops: Size = 0
    transcendentals: Size = 0
    bytes_read: Size = 0
    bytes_written_fresh: Size = 0
    bytes_written_reused: Size = 0
    repeats: Size = 1
    in_loop: bool = False
    transposed: bool = False
    entrywise: bool = False

    @property
    def variant(self) -> Variant:
        """The way in which it is run."""
        if self.kind in (OperationKind.DOT, OperationKind.BATCHED_DOT):
            if self.m == 1:
                return Variant.VECTOR
            if self.n == 1:
                across = Variant.TRANSPOSED_VECTOR
                return across if self.transposed else Variant.VECTOR
            return Variant.TRANSPOSED if self.transposed else Variant.PLAIN
        if self.batch != 1 and self.kind in (
            OperationKind.CONVOLUTION,
            OperationKind.CONVOLUTION_KERNEL_GRADIENT,
        ):
            return Variant.GROUPED
        return Variant.PLAIN


def repeated(
    operations: Iterable[Operation], times: Size, *, in_loop: bool = False
) -> tuple[Operation, ...]:
    """Counts operations as often as a loop runs them, over the same memory.

    Args:
        operations: What one step does.
        times: How many steps there are.
        in_loop: Whether a compiler sees a loop; otherwise it is written out.
    """
    if times == 1 and not in_loop:
        return tuple(operations)
    return tuple(
        dataclasses.replace(
            operation,
            flops=operation.flops * times,
            transcendentals=operation.transcendentals * times,
            bytes_read=operation.bytes_read * times,
            bytes_written_fresh=0,
            bytes_written_reused=times
            * (operation.bytes_written_fresh + operation.bytes_written_reused),
            repeats=operation.repeats * times,
            in_loop=in_loop or operation.in_loop,
        )
        for operation in operations
    )


COUNTED = (
    "flops",
    "transcendentals",
    "bytes_read",
    "bytes_written_fresh",
    "bytes_written_reused",
    "peak_bytes",
    "launches",
)
"""What a work counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Operations, and the bytes that are alive while they run.

    Attributes:
        operations: In the order in which they run.
        peak_bytes: Most bytes alive at once, inputs left out, results included.
        uncopied_peak_bytes: The same where products are read and written with their
            axes in any order, so that nothing is copied to transpose it.
    """

    operations: tuple[Operation, ...] = ()
    peak_bytes: Size = 0
    uncopied_peak_bytes: Size = 0

    @property
    def flops(self) -> Size:
        """Floating-point operations, summed."""
        return _total(op.flops for op in self.operations)

    @property
    def transcendentals(self) -> Size:
        """Transcendental evaluations, summed."""
        return _total(op.transcendentals for op in self.operations)

    @property
    def bytes_read(self) -> Size:
        """Bytes read, summed."""
        return _total(op.bytes_read for op in self.operations)

    @property
    def bytes_written(self) -> Size:
        """Bytes written, fresh and reused, summed."""
        return _total((self.bytes_written_fresh, self.bytes_written_reused))

    @property
    def bytes_written_fresh(self) -> Size:
        """Bytes written to memory that was just allocated, summed."""
        return _total(op.bytes_written_fresh for op in self.operations)

    @property
    def bytes_written_reused(self) -> Size:
        """Bytes written to memory that was in use before, summed."""
        return _total(op.bytes_written_reused for op in self.operations)

    @property
    def launches(self) -> Size:
        """How many operations are launched."""
        return _total(op.repeats for op in self.operations)


def formula_texts(work: Work) -> dict[str, str]:
    """Returns what a work counts as text, by name; what is zero is left out."""
    counts = {name: getattr(work, name) for name in COUNTED}
    return {name: str(count) for name, count in counts.items() if count != 0}


def joined(works: Iterable[Work]) -> Work:
    """Returns one work after the other; what is alive at once is left open."""
    return Work(operations=tuple(item for work in works for item in work.operations))


def _total(parts: Iterable[Size]) -> Size:
    """Sums sizes without building a sympy sum term by term."""
    numbers: int = 0
    formulas: list[sympy.Expr] = []
    for part in parts:
        if isinstance(part, sympy.Expr):
            formulas.append(part)
        else:
            numbers += part
    return sympy.Add(numbers, *formulas) if formulas else numbers
