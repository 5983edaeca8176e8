"""Counts that grow with the examples and with the columns pushed or pulled."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Operation, OperationKind


class Level(enum.IntEnum):
    """How many instances of an array there are."""

    SHARED = 0
    """One for all examples."""
    EXAMPLE = 1
    """One for each example."""
    COLUMN = 2
    """One for each example and each column: tangents and cotangents."""


class Amount(NamedTuple):
    """`once + columns * c + examples * n + pairs * n * c`."""

    once: int = 0
    columns: int = 0
    examples: int = 0
    pairs: int = 0

    def plus(self, other: Amount) -> Amount:
        """Returns the sum."""
        return Amount(
            self.once + other.once,
            self.columns + other.columns,
            self.examples + other.examples,
            self.pairs + other.pairs,
        )

    def times(self, factor: int) -> Amount:
        """Returns the multiple."""
        if factor == 1:
            return self
        return Amount(
            self.once * factor,
            self.columns * factor,
            self.examples * factor,
            self.pairs * factor,
        )

    def at_least(self, other: Amount) -> Amount:
        """Returns an upper bound of both, the greater of every coefficient."""
        return Amount(*map(max, self, other))


NOTHING = Amount()
ONE = Amount(once=1)


def sum_of(amounts: Sequence[Amount]) -> Amount:
    """Returns the sum of any number of amounts."""
    if len(amounts) == 1:
        return amounts[0]
    return Amount(*map(sum, zip(*amounts, strict=True))) if amounts else NOTHING


def amount(count: int, level: Level) -> Amount:
    """Returns `count` things for each instance of an array of that level."""
    if level is Level.SHARED:
        return Amount(once=count)
    if level is Level.EXAMPLE:
        return Amount(examples=count)
    return Amount(pairs=count)


class Tally(NamedTuple):
    """One operation, with all its counts as amounts; equal ones are merged."""

    kind: OperationKind
    flops: Amount = NOTHING
    transcendentals: Amount = NOTHING
    bytes_read: Amount = NOTHING
    bytes_written: Amount = NOTHING
    batch: Amount = ONE
    m: Amount = ONE
    n: Amount = ONE
    k: Amount = ONE
    repeats: int = 1
    transposed: bool = False

    def times(self, trips: int) -> Tally:
        """Returns what as many launches of the same operation take together."""
        if trips == 1:
            return self
        return self._replace(
            flops=self.flops.times(trips),
            transcendentals=self.transcendentals.times(trips),
            bytes_read=self.bytes_read.times(trips),
            bytes_written=self.bytes_written.times(trips),
            repeats=self.repeats * trips,
        )


class Scale:
    """The numbers of examples and of columns, known or as formulas."""

    def __init__(self, *, n: Size, columns: Size) -> None:
        self.n = n
        self.columns = columns
        self.pairs = n * columns
        self._sizes: dict[Amount, Size] = {}

    def size(self, count: Amount) -> Size:
        """Returns an amount as one number or formula."""
        known = self._sizes.get(count)
        if known is None:
            known = count.once
            for coefficient, number in (
                (count.columns, self.columns),
                (count.examples, self.n),
                (count.pairs, self.pairs),
            ):
                if coefficient:
                    known = known + coefficient * number
            self._sizes[count] = known
        return known

    def operation(
        self, tally: Tally, *, times: Size = 1, in_loop: bool = False
    ) -> Operation:
        """Returns a tally as an operation.

        Args:
            tally: The tally.
            times: How often it runs, over the same memory.
            in_loop: Whether a loop runs it so often.
        """
        written = self.size(tally.bytes_written) * times
        again = in_loop or times != 1
        return Operation(
            kind=tally.kind,
            batch=self.size(tally.batch),
            m=self.size(tally.m),
            n=self.size(tally.n),
            k=self.size(tally.k),
            flops=self.size(tally.flops) * times,
            transcendentals=self.size(tally.transcendentals) * times,
            bytes_read=self.size(tally.bytes_read) * times,
            bytes_written_fresh=0 if again else written,
            bytes_written_reused=written if again else 0,
            repeats=tally.repeats * times,
            in_loop=in_loop,
            transposed=tally.transposed,
        )
