"""How far predictions are from what was measured."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.candidates import CHOSEN, FORCED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One program: what was predicted and what was measured, in the same unit.

    Attributes:
        name: The configuration.
        family: What kind of model it is.
        candidate: The way to compute its kernel.
        predicted: By the plan.
        measured: On this machine.
    """

    name: str
    family: str
    candidate: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured

    @property
    def relative_error(self) -> float:
        """How far the prediction is off, as a fraction of what was measured."""
        return abs(self.ratio - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How good the predictions of some programs are.

    Attributes:
        count: Number of programs.
        median_error: Median of the relative errors.
        p90_error: Nine in ten relative errors are not larger.
        median_ratio: Median of predicted over measured.
        spearman: Rank correlation; None for fewer than three programs.
    """

    count: int
    median_error: float
    p90_error: float
    median_ratio: float
    spearman: float | None


def accuracy(points: Sequence[Point]) -> Accuracy:
    """Summarises predictions.

    Args:
        points: At least one.
    """
    errors = sorted(point.relative_error for point in points)
    rank = None
    if len(points) > 2:
        predicted = [point.predicted for point in points]
        measured = [point.measured for point in points]
        rank = float(np.asarray(stats.spearmanr(predicted, measured))[0])
    return Accuracy(
        count=len(points),
        median_error=statistics.median(errors),
        p90_error=float(np.quantile(errors, 0.9)),
        median_ratio=statistics.median(point.ratio for point in points),
        spearman=rank,
    )


def by_family(points: Sequence[Point]) -> dict[str, Accuracy]:
    """Summarises the predictions of every family, in the order of the points."""
    return _grouped(points, [point.family for point in points])


def by_candidate(points: Sequence[Point]) -> dict[str, Accuracy]:
    """Summarises the predictions of every candidate, in the order of the points."""
    return _grouped(points, [point.candidate for point in points])


def _grouped(points: Sequence[Point], keys: Sequence[str]) -> dict[str, Accuracy]:
    groups: dict[str, list[Point]] = {}
    for key, point in zip(keys, points, strict=True):
        groups.setdefault(key, []).append(point)
    return {key: accuracy(group) for key, group in groups.items()}


def time_points(regret: Mapping[str, Any]) -> list[Point]:
    """Returns estimates and medians, in seconds, of the chosen and forced plans.

    A program that is also another candidate's counts once.

    Args:
        regret: What `benchmarks.regret` wrote.
    """
    return [
        Point(
            name=row["name"],
            family=row["family"],
            candidate=name,
            predicted=row["candidates"][name]["estimated_s"],
            measured=row["candidates"][name]["median_s"],
        )
        for row in regret["configurations"]
        for name in (CHOSEN, *FORCED)
        if "median_s" in row["candidates"].get(name, {})
        and "same_program_as" not in row["candidates"][name]
    ]


def memory_points(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Returns predicted and measured peaks, in bytes, of the programs that ran.

    Args:
        rows: What `benchmarks.resident` printed for each.
    """
    return [
        Point(
            name=row["name"],
            family=row["family"],
            candidate=row["candidate"],
            predicted=row["predicted_bytes"],
            measured=row["measured_bytes"],
        )
        for row in rows
        if "error" not in row
    ]
