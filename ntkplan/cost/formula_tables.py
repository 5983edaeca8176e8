"""Works in symbols as one table, filled with numbers all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from ntkplan.cost.profile import SAMPLE_COLUMNS
from ntkplan.cost.samples import Columns
from ntkplan.cost.symbols import compile_formulas
from ntkplan.cost.tables import OperationTable, kind_number
from ntkplan.cost.work import Work

_COUNTS = SAMPLE_COLUMNS[:-1]


class FormulaTable:
    """The operations of works in symbols, those that are written alike once.

    Attributes:
        rows: Of every work the rows of its operations in the table that `at` returns.
    """

    def __init__(self, works: Sequence[Work]) -> None:
        self._formulas: dict[sympy.Expr, int] = {}
        self._numbers: dict[float, int] = {}
        known: dict[tuple[Any, ...], int] = {}
        self.rows = [
            np.array(
                [
                    known.setdefault(
                        (
                            kind_number(item),
                            item.transposed,
                            item.in_loop,
                            *(self._slot(getattr(item, name)) for name in _COUNTS),
                        ),
                        len(known),
                    )
                    for item in work.operations
                ],
                int,
            )
            for work in works
        ]
        self._peaks = self._places(
            [
                [self._slot(work.peak_bytes) for work in works],
                [self._slot(work.uncopied_peak_bytes) for work in works],
            ]
        )
        statics = np.array([row[:3] for row in known], int).reshape(len(known), 3)
        self._kinds, self._transposed, self._in_loop = statics.T
        self._counts = self._places([row[3:] for row in known])
        self._counts = self._counts.reshape(len(known), len(_COUNTS))
        self._compute = compile_formulas(list(self._formulas))
        self._constants = list(self._numbers)

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
        whole = np.column_stack([self._kinds, self._transposed, self._in_loop, counts])
        # Equal operations have to get equal times, to the last digit: which of two
        # candidates is taken must not hang on where in the table they stand.
        distinct, place = np.unique(whole, axis=0, return_inverse=True)
        columns = dict(zip(_COUNTS, distinct[:, 3:].T, strict=True))
        unknown = np.full(len(distinct), np.nan)
        table = OperationTable(
            kinds=distinct[:, 0].astype(int),
            transposed=distinct[:, 1].astype(bool),
            in_loop=distinct[:, 2].astype(bool),
            columns=Columns(**columns, seconds=unknown),
        )
        return table, place.reshape(-1), values[self._peaks]
