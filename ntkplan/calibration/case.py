"""A program that calibration times, and how sizes for many of them are drawn."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from ntkplan.cost.work import Operation

_MOST_DRAWN = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One program of one operation.

    Attributes:
        operation: What it does.
        function: The program, to be jitted.
        shapes: Shapes of its arguments; a tuple that starts with "index" stands for
            whole numbers below its second entry, of the shape that follows.
        dtype: NumPy's name of the type of the other arguments.
        precision: Precision of its products.
    """

    operation: Operation
    function: Callable[..., Any]
    shapes: tuple[tuple[Any, ...], ...]
    dtype: str = "float32"
    precision: str = "default"

    @property
    def nbytes(self) -> float:
        """Bytes that it reads and writes."""
        return cast(float, self.operation.bytes_read) + cast(
            float, self.operation.bytes_written_fresh
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extent:
    """How large the programs of a device are.

    Attributes:
        least_flops: Programs of fewer operations would measure the call alone.
        least_bytes: So would those without operations that move fewer bytes.
        most_flops: Most operations of one program.
        most_bytes: Most bytes that one program reads and writes.
    """

    least_flops: float
    least_bytes: float
    most_flops: float
    most_bytes: float


def sizes(
    seed: int, ranges: Sequence[tuple[int, int]], powers: float = 0.4
) -> Iterator[tuple[int, ...]]:
    """Yields sizes, evenly spread in the logarithm; always the same ones.

    Args:
        seed: Of the random numbers.
        ranges: Least and most of each size.
        powers: Part of the sizes that is rounded to a power of two, as widths of
            layers often are.
    """
    generator = np.random.default_rng(seed)
    low, high = np.log2(np.asarray(ranges, float)).T
    while True:
        logs = low + (high - low) * generator.random(len(ranges))
        even = generator.random(len(ranges)) < powers
        logs = np.where(even, np.round(logs), logs)
        yield tuple(max(1, round(math.exp2(size))) for size in logs)


def take(
    count: int,
    drawn: Iterator[tuple[int, ...]],
    make: Callable[..., Case],
    extent: Extent,
) -> list[Case]:
    """Makes cases until there are enough that are neither too small nor too large.

    Gives up, with fewer, where hardly any drawn size fits.
    """
    fitting = (
        case
        for size in itertools.islice(drawn, _MOST_DRAWN * count)
        if fits(case := make(*size), extent)
    )
    return list(itertools.islice(fitting, count))


def fits(case: Case, extent: Extent) -> bool:
    """Whether a case is neither too small nor too large."""
    flops = cast(float, case.operation.flops)
    if flops:
        large_enough = flops >= extent.least_flops
    else:
        large_enough = case.nbytes >= extent.least_bytes
    return (
        large_enough and flops <= extent.most_flops and case.nbytes <= extent.most_bytes
    )
