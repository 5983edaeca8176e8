"""What a rule says: the passes over memory and the products an equation makes."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any

from ntkplan._jax import Primitive
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.amount import Level, Tally, amount

TANGENT = -1
"""Stands for the tangent or cotangent among the operands of a step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """Shape and size of an operand or result.

    Attributes:
        shape: Its axes.
        itemsize: Bytes of one element.
        inexact: Whether it holds floating-point or complex numbers.
        elements: How many.
        nbytes: Bytes of all.
    """

    shape: tuple[int, ...]
    itemsize: int
    inexact: bool
    elements: int
    nbytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A primitive applied to arrays."""

    primitive: Primitive
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    parameters: dict[str, Any]

    @property
    def result(self) -> Array:
        """The first output."""
        return self.outputs[0]


class Fuses(enum.Enum):
    """How a compiler joins a pass with its neighbours."""

    NO = "no"
    """Runs alone."""
    LOOP = "loop"
    """Joins what makes its operands and what uses its result."""
    END = "end"
    """Joins what makes its operands; its own result is written."""
    ALIAS = "alias"
    """Costs nothing: its result is its first operand under another shape."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
    """One trip over memory.

    Attributes:
        kind: Its class.
        reads: Operands, by index or `TANGENT`, and how many bytes of each are read.
        written_bytes: Bytes of the result.
        flops: Operations for each instance of the result.
        transcendentals: Evaluations for each instance of the result.
        residual_flops: Operations done once for all columns, for the derivative.
        residual_transcendentals: Evaluations done once for all columns.
        m: Of a reduction: what is kept before the reduced axes.
        n: What is kept after them.
        k: What is reduced.
        fuses: How it joins its neighbours.
    """

    kind: OperationKind = OperationKind.ELEMENTWISE
    reads: tuple[tuple[int, int], ...]
    written_bytes: int
    flops: int = 0
    transcendentals: int = 0
    residual_flops: int = 0
    residual_transcendentals: int = 0
    m: int = 1
    n: int = 1
    k: int = 1
    fuses: Fuses = Fuses.LOOP

    def tally(self, levels: dict[int, Level]) -> Tally:
        """Counts the pass when it runs alone.

        Args:
            levels: The level of every operand that is read.
        """
        level = max(
            (levels[operand] for operand, _ in self.reads), default=Level.SHARED
        )
        residual = min(level, Level.EXAMPLE)
        read = amount(0, Level.SHARED)
        for operand, nbytes in self.reads:
            read = read.plus(amount(nbytes, levels[operand]))
        return Tally(
            kind=self.kind,
            flops=amount(self.flops, level).plus(amount(self.residual_flops, residual)),
            transcendentals=amount(self.transcendentals, level).plus(
                amount(self.residual_transcendentals, residual)
            ),
            bytes_read=read,
            bytes_written=amount(self.written_bytes, level),
            m=amount(self.m, level),
            n=amount(self.n, Level.SHARED),
            k=amount(self.k, Level.SHARED),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """A matrix product or a convolution.

    Attributes:
        kind: `DOT`, or a kind of convolution.
        left: Operand, by index or `TANGENT`, that has the rows.
        right: Operand that has the columns.
        left_bytes: Bytes of the left operand.
        right_bytes: Bytes of the right operand.
        written_bytes: Bytes of the result.
        batch: Independent products.
        m: Rows of one.
        n: Columns of one.
        k: Length of the contraction.
        flops: Additions and multiplications of all products.
        transposed: Whether the contracted axis of the left operand lies before the
            free one.
    """

    kind: OperationKind = OperationKind.DOT
    left: int
    right: int
    left_bytes: int
    right_bytes: int
    written_bytes: int
    batch: int
    m: int
    n: int
    k: int
    flops: int
    transposed: bool = False

    def tally(self, levels: dict[int, Level]) -> Tally:
        """Counts the product for all instances of its operands.

        Against an operand that all share, more instances are more rows (or columns) of
        one product; where both operands differ by example there are more products.
        """
        left, right = levels[self.left], levels[self.right]
        batch = amount(self.batch, Level.SHARED)
        rows = amount(self.m, Level.SHARED)
        columns = amount(self.n, Level.SHARED)
        level = max(left, right)
        convolution = self.kind is not OperationKind.DOT
        if min(left, right) is Level.SHARED:
            if left > right:
                rows = amount(self.m, left)
            else:
                columns = amount(self.n, right)
        elif left is right or convolution:
            batch = amount(self.batch, level)
        else:
            batch = amount(self.batch, Level.EXAMPLE)
            if left > right:
                rows = rows._replace(once=0, columns=self.m)
            else:
                columns = columns._replace(once=0, columns=self.n)
        kind = self.kind
        if kind is OperationKind.DOT and batch != (1, 0, 0, 0):
            kind = OperationKind.BATCHED_DOT
        return Tally(
            kind=kind,
            flops=amount(self.flops, level),
            bytes_read=amount(self.left_bytes, left).plus(
                amount(self.right_bytes, right)
            ),
            bytes_written=amount(self.written_bytes, level),
            batch=batch,
            m=rows,
            n=columns,
            k=amount(self.k, Level.SHARED),
            transposed=self.transposed,
        )


Step = Pass | Product
Forward = Callable[[Call], tuple[Step, ...]]
Pull = Callable[[Call, int], tuple[Step, ...]]
Push = Callable[[Call, int], tuple[Step, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkRule:
    """What a primitive computes.

    The steps of a rule run one after the other, and the last one writes the result.

    Attributes:
        forward: Steps of the primitive itself.
        pull: Steps that take a cotangent of the results to one of the operand.
        push: Steps that take a tangent of the operand to one of the results.
    """

    forward: Forward
    pull: Pull
    push: Push


def alias(read: int) -> tuple[Step, ...]:
    """Returns the step of what costs nothing."""
    return (Pass(reads=((read, 0),), written_bytes=0, fuses=Fuses.ALIAS),)


def all_reads(call: Call) -> tuple[tuple[int, int], ...]:
    """Returns every operand, read once."""
    return tuple((index, array.nbytes) for index, array in enumerate(call.inputs))


def results_bytes(call: Call) -> int:
    """Returns the bytes of all results."""
    return sum(array.nbytes for array in call.outputs)


def length_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Returns the product of some axes' lengths."""
    return math.prod(shape[axis] for axis in axes)
