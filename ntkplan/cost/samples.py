"""Measured programs, as the arrays that a fit works on."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence

import numpy as np

from ntkplan.cost.profile import SAMPLE_COLUMNS
from ntkplan.cost.work import Operation

_counts = operator.attrgetter(*SAMPLE_COLUMNS[:-1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One program that was timed.

    Attributes:
        operation: What it does.
        seconds: The least time over the rounds, one call of the program included.
    """

    operation: Operation
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Many operations of one class: the fields of `Operation`, each an array."""

    batch: np.ndarray
    m: np.ndarray
    n: np.ndarray
    k: np.ndarray
    flops: np.ndarray
    transcendentals: np.ndarray
    bytes_read: np.ndarray
    bytes_written_fresh: np.ndarray
    bytes_written_reused: np.ndarray
    repeats: np.ndarray
    seconds: np.ndarray

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[float]]) -> Columns:
        """Makes columns of rows as `Fit.samples` holds them."""
        table = np.asarray(rows, float).reshape(len(rows), len(SAMPLE_COLUMNS))
        return cls(**dict(zip(SAMPLE_COLUMNS, table.T, strict=True)))

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> Columns:
        """Makes columns of operations, their seconds unknown."""
        table = np.array([_counts(operation) for operation in operations], float)
        table = table.reshape(len(operations), len(SAMPLE_COLUMNS) - 1)
        unknown = np.full(len(operations), np.nan)
        columns = dict(zip(SAMPLE_COLUMNS, (*table.T, unknown), strict=True))
        return cls(**columns)

    def at(self, index: np.ndarray) -> Columns:
        """Returns some of the operations."""
        return Columns(**{name: self.__dict__[name][index] for name in SAMPLE_COLUMNS})

    def __len__(self) -> int:
        return len(self.seconds)


def row(operation: Operation, seconds: float) -> tuple[float, ...]:
    """Returns a row of `Fit.samples`."""
    return tuple(float(value) for value in (*_counts(operation), seconds))
