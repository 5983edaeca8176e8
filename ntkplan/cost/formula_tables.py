"""Works in symbols as one table, filled with numbers all at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sympy

from ntkplan.cost.profile import SAMPLE_COLUMNS
from ntkplan.cost.samples import Columns
from ntkplan.cost.symbols import compile_formulas
from ntkplan.cost.tables import OperationTable, kind_number
from ntkplan.cost.work import Operation, Work

_COUNTS = SAMPLE_COLUMNS[:-1]


class FormulaTable:
    """The operations of works in symbols, those that are written alike once.

    Args:
        works: The works; one that stands among them several times is taken once.

    Attributes:
        rows: Of every work the rows of its operations in the table that `at` returns.
    """

    def __init__(self, works: Iterable[Work]) -> None:
        # The works are kept, so that no other has the identity of one of them.
        self._works = list({id(work): work for work in works}.values())
        self._numbers_of = {id(work): i for i, work in enumerate(self._works)}
        self._formulas: dict[sympy.Expr, int] = {}
        self._numbers: dict[float, int] = {}
        known: dict[tuple[Any, ...], int] = {}
        row_of: dict[int, int] = {}
        for item in itertools.chain.from_iterable(
            work.operations for work in self._works
        ):
            if id(item) not in row_of:
                row_of[id(item)] = known.setdefault(self._row(item), len(known))
        self.rows = [
            np.array([row_of[id(item)] for item in work.operations], int)
            for work in self._works
        ]
        self._peaks = self._places(
            [
                [self._slot(work.peak_bytes) for work in self._works],
                [self._slot(work.uncopied_peak_bytes) for work in self._works],
            ]
        )
        statics = np.array([row[:4] for row in known], int).reshape(len(known), 4)
        self._statics = statics
        self._counts = self._places([row[4:] for row in known])
        self._counts = self._counts.reshape(len(known), len(_COUNTS))
        self._compute = compile_formulas(list(self._formulas))
        self._constants = list(self._numbers)

    def number(self, work: Work) -> int:
        """Returns the number of a work among those of the table."""
        return self._numbers_of[id(work)]

    def _row(self, operation: Operation) -> tuple[Any, ...]:
        """Returns what an operation is, and where its counts will be."""
        return (
            kind_number(operation),
            operation.transposed,
            operation.in_loop,
            operation.entrywise,
            *(self._slot(getattr(operation, name)) for name in _COUNTS),
        )

    def _slot(self, value: Any) -> int:
        """Returns where a value will be: formulas from 0 on, numbers from -1 down."""
        if isinstance(value, sympy.Expr):
            return self._formulas.setdefault(value, len(self._formulas))
        return -1 - self._numbers.setdefault(value, len(self._numbers))

    def _places(self, slots: Sequence[Any]) -> np.ndarray:
        """Returns indices into all values, the formulas' first."""
        found = np.array(slots, int)
        return np.where(found < 0, len(self._formulas) - 1 - found, found)

    def at(
        self, n1: int, n2: int, n_outputs: int
    ) -> tuple[OperationTable, np.ndarray, np.ndarray]:
        """Puts numbers in place of the symbols.

        Args:
            n1: Examples in `x1`.
            n2: Examples in `x2`.
            n_outputs: Vectors of the output basis.

        Returns:
            The distinct operations; for each row of `rows` the row in that table; and
            every work's peak bytes, with transposed copies and without.
        """
        formulas = self._compute(n1, n2, n_outputs)
        values = np.array([*formulas, *self._constants], float)
        counts = values[self._counts]
        whole = np.column_stack([self._statics, counts])
        # Equal operations have to get equal times, to the last digit: which of two
        # candidates is taken must not hang on where in the table they stand.
        distinct, place = _distinct_rows(whole)
        columns = dict(zip(_COUNTS, distinct[:, 4:].T, strict=True))
        unknown = np.full(len(distinct), np.nan)
        table = OperationTable(
            kinds=distinct[:, 0].astype(int),
            transposed=distinct[:, 1].astype(bool),
            in_loop=distinct[:, 2].astype(bool),
            entrywise=distinct[:, 3].astype(bool),
            columns=Columns(**columns, seconds=unknown),
        )
        return table, place, values[self._peaks]


def _distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct rows in order, and for each row its place among them.

    As `numpy.unique`, which takes far longer to compare rows as wholes.
    """
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(rows), int)
    place[order] = np.cumsum(is_new) - 1
    return ordered[is_new], place
