"""One case: every side computes it, and they take turns."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import summary
from benchmarks.peer.configurations import Case
from benchmarks.peer.side import Side, SideError

OURS = "ntkplan"
PEERS = ("jacobian_contraction", "ntk_vector_products", "structured_derivatives")
AUTO = "auto"
NAMES = (OURS, *PEERS, AUTO)
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is spent on each side of a case.

    Attributes:
        rounds: Rounds of timing.
        budget_s: Seconds of timed calls after which a side is called no more.
        temp_bytes: Temporaries with which a kernel is not called.
        patience_s: Seconds until a kernel has to be there, or a round over.
        slow_factor: A kernel whose first call took that many times as long as the
            quickest first call is not called again; that call is its only sample.
    """

    rounds: int
    budget_s: float
    temp_bytes: float
    patience_s: float
    slow_factor: float


def measure(case: Case, sides: Mapping[str, Side], limits: Limits) -> Row:
    """Compiles a case on all sides and times them in turns.

    Args:
        case: What to compute.
        sides: Processes, by `NAMES`.
        limits: What may be spent.

    Returns:
        A row of the results, as JSON can hold it.
    """
    started_s = time.perf_counter()
    row: Row = {
        "name": case.problem.name,
        "family": case.problem.family,
        "kernel": case.kernel,
        "n1": case.problem.n1,
        "n2": case.problem.n2,
        "load_average_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        entered = {
            name: _entered(name, case, side, limits, Path(folder))
            for name, side in sides.items()
        }
        _compare(entered, Path(folder))
    _time(entered, sides, limits)
    least: Row = sides[OURS].ask(
        "least_work", case=case.name, patience_s=limits.patience_s
    )
    return row | {
        "sides": entered,
        "least_work": least,
        "took_s": time.perf_counter() - started_s,
    }


def _entered(name: str, case: Case, side: Side, limits: Limits, folder: Path) -> Row:
    try:
        return side.ask(
            "prepare",
            case=case.name,
            implementation=name,
            budget_s=limits.budget_s,
            temp_bytes=limits.temp_bytes,
            kernel_file=str(folder / f"{name}.npy"),
            patience_s=limits.patience_s,
        )
    except SideError as error:
        return {"error": str(error)}


def _compare(entered: Mapping[str, Row], folder: Path) -> None:
    """Notes how much the peer's kernels differ from ours, relative to the largest."""
    ours = folder / f"{OURS}.npy"
    if not ours.exists():
        return
    expected = np.load(ours).astype(np.float64)
    scale = np.abs(expected).max()
    for name in (*PEERS, AUTO):
        file = folder / f"{name}.npy"
        if file.exists():
            difference = np.abs(np.load(file).reshape(expected.shape) - expected).max()
            entered[name]["difference_fraction"] = float(difference / scale)


def _time(
    entered: Mapping[str, Row], sides: Mapping[str, Side], limits: Limits
) -> None:
    """Adds samples; our side has its turn after each of the peer's."""
    first_s = {
        name: entered[name]["first_call_s"]
        for name in (OURS, *PEERS)
        if "first_call_s" in entered[name]
    }
    if not first_s:
        return
    most_s = limits.slow_factor * min(first_s.values())
    samples: dict[str, list[float]] = {name: [] for name in first_s}
    peers = [name for name in PEERS if first_s.get(name, most_s) < most_s]
    ours = [OURS] if OURS in first_s else []
    for _ in range(limits.rounds):
        for turn in [[name, *ours] for name in peers] or [ours]:
            for name in turn:
                samples[name] += sides[name].ask("round", patience_s=limits.patience_s)
    for name, own in samples.items():
        entered[name].update(summary(own or [first_s[name]]))
