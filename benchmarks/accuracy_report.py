"""Reads the results of `benchmarks.accuracy` as tables and as answers to questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.accuracy_statistics import (
    Accuracy,
    Point,
    accuracy,
    by_candidate,
    by_family,
    memory_points,
)
from benchmarks.compare_report import Check

_LEAST_BYTES = 250e6
_LEAST_PROGRAMS = 12
_MEMORY_BAND = (0.8, 1.3)
_PLAN_S = 3.0
_AGAIN_S = 0.2

Row = Mapping[str, Any]


def report(results: Row) -> str:
    """Returns what was measured, and the checks.

    Args:
        results: What the file holds.
    """
    times = [Point(**point) for point in results["time"]["points"]]
    memory, planning = results["memory"]["programs"], results["planning"]["models"]
    parts = [
        *_time_lines(times),
        "",
        *_memory_lines(memory),
        "",
        *_plan_lines(planning),
    ]
    return "\n".join([*parts, "", *map(str, checks(times, memory, planning))])


def _time_lines(points: Sequence[Point]) -> list[str]:
    if not points:
        return ["time: not measured"]
    head = f"{'time':32}{'count':>7}{'median':>9}{'p90':>9}{'ratio':>8}{'Spearman':>10}"
    groups = {
        "all": accuracy(points),
        **by_candidate(points),
        **by_family(points),
    }
    return [head, *(_accuracy_line(name, found) for name, found in groups.items())]


def _accuracy_line(name: str, found: Accuracy) -> str:
    rank = "-" if found.spearman is None else f"{found.spearman:.3f}"
    return (
        f"{name:32}{found.count:>7}{found.median_error:>9.1%}{found.p90_error:>9.1%}"
        f"{found.median_ratio:>8.2f}{rank:>10}"
    )


def _memory_lines(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["memory: not measured"]
    lines = [
        f"{'memory, MB':30}{'candidate':>30}{'predicted':>11}{'measured':>10}"
        f"{'ratio':>7}{'compiler: temporaries, result':>32}"
    ]
    for row in rows:
        start = f"{row['name']:30}{row['candidate']:>30}"
        if "error" in row:
            lines.append(f"{start}  {row['error']}")
            continue
        compiler = row["compiler"]
        figures = f"{_mb(compiler['temp_bytes'])}, {_mb(compiler['output_bytes'])}"
        ratio = row["predicted_bytes"] / row["measured_bytes"]
        lines.append(
            f"{start}{_mb(row['predicted_bytes']):>11}{_mb(row['measured_bytes']):>10}"
            f"{ratio:>7.2f}{figures:>32}"
        )
    return lines


def _mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.0f}"


def _plan_lines(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["planning: not measured"]
    lines = [f"{'planning, s':24}{'leaves':>8}{'plan':>8}{'process':>9}  other sizes"]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:24}  {row['error']}")
            continue
        again = "plans have no `at`"
        if row["again"] is not None:
            again = ", ".join(map(_again, row["again"]))
        lines.append(
            f"{row['name']:24}{row['n_leaves']:>8}{row['plan_s']:>8.2f}"
            f"{row['process_s']:>9.2f}  {again}"
        )
    return lines


def _again(each: Row) -> str:
    refused = " (refused)" if "refused" in each else ""
    return f"{each['n1']} x {each['n2']}: {each['plan_s']:.3f}{refused}"


def checks(
    times: Sequence[Point], memory: Sequence[Row], planning: Sequence[Row]
) -> list[Check]:
    """Returns what must show, each with its answer.

    Args:
        times: Programs, in seconds.
        memory: Programs whose memory was measured.
        planning: Models that were planned.
    """
    found = accuracy(times) if times else None
    rank = None if found is None else found.spearman
    return [
        Check(
            question="median error of a kernel's time at most 30 %",
            passed=None if found is None else found.median_error <= 0.3,
            figure="-" if found is None else f"{found.median_error:.1%}",
        ),
        Check(
            question="Spearman's correlation of times at least 0.95",
            passed=None if rank is None else rank >= 0.95,
            figure="-" if rank is None else f"{rank:.3f}",
        ),
        _memory_check(memory),
        _planning_check(planning),
        _again_check(planning),
    ]


def _memory_check(rows: Sequence[Row]) -> Check:
    low, high = _MEMORY_BAND
    question = (
        f"predicted peak {low} to {high} of the measured one, from 250 MB on, for "
        f"{_LEAST_PROGRAMS} programs or more"
    )
    points = [point for point in memory_points(rows) if point.measured >= _LEAST_BYTES]
    failed = [row["name"] for row in rows if "error" in row]
    if failed or not points:
        figure = f"no figures of {', '.join(failed)}" if failed else "-"
        return Check(question=question, passed=None, figure=figure)
    outside = [point for point in points if not low <= point.ratio <= high]
    ratios = sorted(point.ratio for point in points)
    figure = f"{len(points)} programs, {ratios[0]:.2f} to {ratios[-1]:.2f}"
    if outside:
        names = (f"{each.name} {each.candidate} {each.ratio:.2f}" for each in outside)
        figure += f"; outside: {', '.join(names)}"
    enough = len(points) >= _LEAST_PROGRAMS
    return Check(question=question, passed=enough and not outside, figure=figure)


def _planning_check(rows: Sequence[Row]) -> Check:
    question = f"plan() within {_PLAN_S} s, trace included"
    if not rows or any("error" in row for row in rows):
        return Check(question=question, passed=None, figure="-")
    figure = ", ".join(f"{row['name']} {row['plan_s']:.2f}" for row in rows)
    worst_s = max(row["plan_s"] for row in rows)
    return Check(question=question, passed=worst_s <= _PLAN_S, figure=figure)


def _again_check(rows: Sequence[Row]) -> Check:
    question = f"planning for other sizes within {_AGAIN_S} s"
    found = [each for row in rows for each in row.get("again") or ()]
    if not found or any(row.get("again") is None for row in rows):
        return Check(question=question, passed=None, figure="-")
    worst_s = max(each["plan_s"] for each in found)
    refused = sum("refused" in each for each in found)
    figure = f"at most {worst_s:.3f}; {refused} of {len(found)} refused, too large"
    return Check(question=question, passed=worst_s <= _AGAIN_S, figure=figure)
