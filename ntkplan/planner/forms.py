"""Candidates whose work is the same but for names, priced once and all together."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ntkplan.cost.formula_tables import FormulaTable
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.tables import OperationTable, kind_number, table_seconds
from ntkplan.cost.work import Operation, OperationKind, Work
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.sharing import Key
from ntkplan.planner.prices import Price

_PRODUCTS = [
    kind_number(Operation(kind=kind))
    for kind in (OperationKind.DOT, OperationKind.BATCHED_DOT)
]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What candidates of one form take, one entry for every statement.

    The last one is the addition of the results to the kernel.

    Attributes:
        seconds: Times on the problem's device.
        flops: Floating-point operations.
        bytes_moved: Bytes read and written.
        peak_bytes: Most bytes alive at once, inputs left out, and what libraries hold
            for the largest product.
        total_s: Seconds of all entries.
    """

    seconds: tuple[float, ...]
    flops: tuple[float, ...]
    bytes_moved: tuple[float, ...]
    peak_bytes: float
    total_s: float

    @functools.cached_property
    def total(self) -> Price:
        """The price of all entries."""
        return Price(
            seconds=self.total_s,
            flops=sum(self.flops),
            bytes_moved=sum(self.bytes_moved),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """What a candidate computes, by name.

    Attributes:
        form: Number of its form.
        statements: The number of every entry of its form's `Figures`, equal where the
            same array is computed; None for the addition of the results to the kernel.
        keys: Those of them that are numbers.
        meeting: Those of these that candidates of other leaves have as well.
        pushed: Whether the leaf takes part in the push forward.
    """

    form: int
    statements: tuple[int | None, ...]
    keys: frozenset[int]
    meeting: frozenset[int]
    pushed: bool


class Forms:
    """The forms of a study's candidates, for any sizes.

    Args:
        candidates: Those of every layer.
        table: The work of all of them.
        symmetric: Whether `x2` is absent.

    Attributes:
        layers: What each candidate of each layer computes.
    """

    def __init__(
        self,
        candidates: Sequence[Sequence[Candidate]],
        table: FormulaTable,
        *,
        symmetric: bool,
    ) -> None:
        self._symmetric = symmetric
        self._table = table
        works: dict[int, Work] = {}
        counts: dict[int, list[int]] = {}
        for candidate in itertools.chain.from_iterable(candidates):
            work, parts = self._of(candidate)
            if id(work) not in works:
                works[id(work)] = work
                counts[id(work)] = _lengths(work, [count for _, count in parts])
        self._numbers = {each: number for number, each in enumerate(works)}
        self._works = np.array([table.number(work) for work in works.values()], int)
        self._lengths = list(counts.values())
        self._candidates = candidates
        self.layers = self._names(candidates)

    def _of(self, candidate: Candidate) -> tuple[Work, tuple[tuple[Key, int], ...]]:
        if self._symmetric:
            return candidate.symmetric_work, candidate.symmetric_parts
        return candidate.work, candidate.parts

    def _names(
        self, candidates: Sequence[Sequence[Candidate]]
    ) -> tuple[tuple[Named, ...], ...]:
        numbers: dict[Key, int] = {}
        users: Counter[int] = Counter()
        statements: list[list[tuple[int | None, ...]]] = []
        for many in candidates:
            statements.append([])
            for candidate in many:
                work, parts = self._of(candidate)
                own = [numbers.setdefault(key, len(numbers)) for key, _ in parts]
                n_entries = len(self._lengths[self._numbers[id(work)]])
                left_over = (None,) * (n_entries - len(own))
                statements[-1].append((*own, *left_over))
            own_keys = itertools.chain.from_iterable(statements[-1])
            users.update({key for key in own_keys if key is not None})
        shared = frozenset(key for key, count in users.items() if count > 1)

        def named(candidate: Candidate, own: tuple[int | None, ...]) -> Named:
            keys = frozenset(key for key in own if key is not None)
            return Named(
                form=self._numbers[id(self._of(candidate)[0])],
                statements=own,
                keys=keys,
                meeting=keys & shared,
                pushed=candidate.method is Method.NTK_VECTOR_PRODUCTS,
            )

        return tuple(
            tuple(map(named, many, own))
            for many, own in zip(candidates, statements, strict=True)
        )

    def named(self, candidate: Candidate) -> Named:
        """Returns what a candidate computes."""
        return self._by_candidate[id(candidate)]

    @functools.cached_property
    def _by_candidate(self) -> dict[int, Named]:
        return {
            id(candidate): named
            for many, names in zip(self._candidates, self.layers, strict=True)
            for candidate, named in zip(many, names, strict=True)
        }

    def figures(
        self,
        sizes: tuple[int, int, int],
        profile: DeviceProfile,
        *,
        dtype: str,
        precision: str | None,
        itemsize: int,
        beside_bytes: float,
    ) -> list[Figures]:
        """Prices every form.

        Args:
            sizes: Examples in `x1` and `x2`, and vectors of the output basis.
            profile: The device.
            dtype: NumPy's name of the data type.
            precision: As `jax.lax.Precision` in lower case, or None.
            itemsize: Bytes of one number.
            beside_bytes: What the program holds beside what a leaf needs. All
                temporaries of a program are one allocation: where it is large, its
                pages are new at every call, also to a leaf that needs few of them.
        """
        table, place, peaks_of_all = self._table.at(*sizes)
        peaks = peaks_of_all[int(profile.fuses_products)][self._works]
        row = place[self._places.rows]
        packed = np.zeros(len(peaks))
        columns = profile.memory.packed_columns
        np.maximum.at(packed, self._places.forms, _packed_entries(table, columns)[row])
        seconds = self._part_seconds(
            table,
            row,
            np.ceil(beside_bytes + peaks),
            profile,
            dtype=dtype,
            precision=precision,
        )
        counts = table.columns
        moved = (
            counts.bytes_read + counts.bytes_written_fresh + counts.bytes_written_reused
        )
        flops = self._by_part(counts.flops[row])
        bytes_moved = self._by_part(moved[row])
        peak_bytes = (peaks + itemsize * packed).tolist()
        listed = [values.tolist() for values in (seconds, flops, bytes_moved)]
        found: list[Figures] = []
        start = 0
        for lengths, peak in zip(self._lengths, peak_bytes, strict=True):
            end = start + len(lengths)
            mine = [tuple(values[start:end]) for values in listed]
            found.append(
                Figures(
                    seconds=mine[0],
                    flops=mine[1],
                    bytes_moved=mine[2],
                    peak_bytes=peak,
                    total_s=sum(mine[0]),
                )
            )
            start = end
        return found

    def _part_seconds(
        self,
        table: OperationTable,
        row: np.ndarray,
        program_bytes: np.ndarray,
        profile: DeviceProfile,
        *,
        dtype: str,
        precision: str | None,
    ) -> np.ndarray:
        """Returns the seconds of every part, as `ntkplan.cost.formulas.seconds`."""
        times = table_seconds(table, profile, dtype=dtype, precision=precision)
        least = profile.memory.fresh_buffer_bytes
        is_fresh = (program_bytes >= least) & bool(least)
        forms = self._places.forms
        seconds = self._by_part(
            np.where(is_fresh[forms], times.fresh[row], times.warm[row])
        )
        fresh_bytes = self._by_part(table.columns.bytes_written_fresh[row])
        faults = self._by_part(times.page_faults[row])
        of_part = self._places.form_of_part
        # No more than the peak is ever fresh; what is freed is used again.
        above = is_fresh[of_part] & (fresh_bytes > program_bytes[of_part])
        share = program_bytes[of_part] / np.where(above, fresh_bytes, 1.0)
        return seconds - np.where(above, faults * (1 - share), 0.0)

    def _by_part(self, values: np.ndarray) -> np.ndarray:
        places = self._places
        return np.bincount(
            places.parts, weights=values, minlength=len(places.form_of_part)
        )

    @functools.cached_property
    def _places(self) -> _Places:
        rows = [self._table.rows[number] for number in self._works]
        numbers = np.arange(len(rows))
        lengths = [np.array(many, int) for many in self._lengths]
        every = np.concatenate([*lengths, np.zeros(0, int)])
        return _Places(
            rows=np.concatenate([*rows, np.zeros(0, int)]),
            forms=np.repeat(numbers, [len(many) for many in rows]),
            parts=np.repeat(np.arange(len(every)), every),
            form_of_part=np.repeat(numbers, [len(many) for many in lengths]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Where the operations of all forms stand, one after the other.

    Attributes:
        rows: Their rows in the table of formulas.
        forms: Numbers of their forms.
        parts: Numbers of their statements, counted through all forms.
        form_of_part: The form of every such statement.
    """

    rows: np.ndarray
    forms: np.ndarray
    parts: np.ndarray
    form_of_part: np.ndarray


def _lengths(work: Work, counts: Sequence[int]) -> list[int]:
    """Returns how many operations each part has; what is left over is the last."""
    left = len(work.operations) - sum(counts)
    return [*counts, *([left] if left else [])]


def _packed_entries(table: OperationTable, most_columns: float) -> np.ndarray:
    """Returns what a library holds of the right operand of a product.

    It does so for all products of a batch at once. Where the left operand has to be
    transposed, both are read as they are, a tile at a time; products with a vector are
    no matter of libraries.
    """
    counts = table.columns
    held = counts.batch * np.minimum(counts.n, most_columns) * counts.k
    packs = np.isin(table.kinds, _PRODUCTS) & ~table.transposed
    return np.where(packs & (counts.m > 1) & (counts.n > 1), held, 0.0)
