"""Many operations as arrays, so that all of them are priced at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntkplan.cost.formulas import correction, in_loop_seconds
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.roofline import body_seconds, entrywise_seconds, launch_seconds
from ntkplan.cost.samples import Columns
from ntkplan.cost.work import Operation, OperationKind, Variant

_KINDS = tuple(OperationKind)
_VARIANTS = tuple(Variant)
_ELEMENTWISE = _KINDS.index(OperationKind.ELEMENTWISE)
_LOOP = _KINDS.index(OperationKind.LOOP)
_DOTS = [_KINDS.index(kind) for kind in (OperationKind.DOT, OperationKind.BATCHED_DOT)]
_CONVOLUTIONS = [
    _KINDS.index(kind)
    for kind in (OperationKind.CONVOLUTION, OperationKind.CONVOLUTION_KERNEL_GRADIENT)
]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OperationTable:
    """Operations with numbers, one a row.

    Attributes:
        kinds: Number of each row's class, in the order of `OperationKind`.
        transposed: Whether the left operand of a product has the contracted axis first.
        in_loop: Whether a row is launched in the body of a loop.
        entrywise: Whether a batched product may be a product and a sum of arrays.
        columns: The counts.
    """

    kinds: np.ndarray
    transposed: np.ndarray
    in_loop: np.ndarray
    entrywise: np.ndarray
    columns: Columns

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> OperationTable:
        """Makes a table of operations."""
        return cls(
            kinds=np.array([kind_number(item) for item in operations], int),
            transposed=np.array([item.transposed for item in operations], bool),
            in_loop=np.array([item.in_loop for item in operations], bool),
            entrywise=np.array([item.entrywise for item in operations], bool),
            columns=Columns.of(operations),
        )

    def _classes(self) -> np.ndarray:
        """Returns a number for every row, equal for rows that have the same rates."""
        counts = self.columns
        dots = np.isin(self.kinds, _DOTS)
        # What `Operation.variant` and `ntkplan.cost.formulas` say of one operation.
        across = self.transposed & dots
        variants = np.select(
            [
                dots & (counts.m == 1),
                dots & (counts.n == 1),
                across,
                np.isin(self.kinds, _CONVOLUTIONS) & (counts.batch != 1),
            ],
            [
                _VARIANTS.index(Variant.VECTOR),
                np.where(
                    across,
                    _VARIANTS.index(Variant.TRANSPOSED_VECTOR),
                    _VARIANTS.index(Variant.VECTOR),
                ),
                _VARIANTS.index(Variant.TRANSPOSED),
                _VARIANTS.index(Variant.GROUPED),
            ],
            _VARIANTS.index(Variant.PLAIN),
        )
        kinds = np.where(dots & (counts.k == 1), _ELEMENTWISE, self.kinds)
        return kinds * len(_VARIANTS) + variants


def kind_number(operation: Operation) -> int:
    """Returns the number of an operation's class, see `OperationTable.kinds`."""
    return _KINDS.index(operation.kind)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TableSeconds:
    """How long each row of a table takes.

    Attributes:
        warm: Where only what the row itself writes counts as fresh memory, if that is
            much.
        fresh: Where all that it writes to new memory is fresh.
        page_faults: How much longer its writes take for being fresh.
    """

    warm: np.ndarray
    fresh: np.ndarray
    page_faults: np.ndarray


def table_seconds(
    table: OperationTable, profile: DeviceProfile, *, dtype: str, precision: str | None
) -> TableSeconds:
    """Predicts how long each of many operations takes, class by class at once.

    Args:
        table: The operations.
        profile: The device.
        dtype: NumPy's name of the data type.
        precision: As `jax.lax.Precision` in lower case, or None.

    Returns:
        Seconds of each, as `ntkplan.cost.formulas.operation_seconds` gives them.
    """
    n_rows = len(table.kinds)
    found = TableSeconds(
        warm=np.zeros(n_rows), fresh=np.zeros(n_rows), page_faults=np.zeros(n_rows)
    )
    classes = table._classes()
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        kind = _KINDS[number // len(_VARIANTS)]
        columns = table.columns.at(rows)
        np.maximum(columns.repeats, 1, out=columns.repeats)
        if kind is OperationKind.LOOP:
            found.warm[rows] = columns.repeats * profile.launch.loop_overhead_s
            found.fresh[rows] = found.warm[rows]
            continue
        variant = _VARIANTS[number % len(_VARIANTS)]
        rate = profile.rate(kind, dtype, precision, variant)
        corrected = correction(profile, rate)
        factors = 1.0 if corrected is None else corrected.factors(columns)
        overhead = launch_seconds(columns, rate)
        for times, program_bytes in ((found.warm, 0.0), (found.fresh, np.inf)):
            each = body_seconds(columns, profile, rate, program_bytes) + overhead
            if rate.entrywise_flops_per_s and table.entrywise[rows].any():
                elementwise = profile.rate(OperationKind.ELEMENTWISE, dtype, precision)
                other = entrywise_seconds(columns, profile, rate, elementwise)
                is_better = table.entrywise[rows] & (other < each)
                each = np.where(is_better, other, each)
            times[rows] = each * factors
        if profile.launch.loop_operation_s and table.in_loop[rows].any():
            small = in_loop_seconds(columns, profile, rate)
            is_small = small < profile.launch.loop_small_s * columns.repeats
            is_small &= table.in_loop[rows]
            for times in (found.warm, found.fresh):
                times[rows] = np.where(is_small, small, times[rows])
        slower = 1 / rate.fresh_write_bytes_per_s - 1 / rate.write_bytes_per_s
        found.page_faults[rows] = columns.bytes_written_fresh * max(0.0, slower)
    return found
