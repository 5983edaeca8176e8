"""Reads the results of `benchmarks.peer` as a table and as answers to questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compare_report import Check
from benchmarks.peer.contest import AUTO, NAMES, OURS, PEERS, Row
from benchmarks.regret_statistics import geometric_mean

_SHORT = {
    "jacobian_contraction": "jacobian",
    "ntk_vector_products": "products",
    "structured_derivatives": "structured",
}
_AGREEMENT = 1e-5
_NAME_WIDTH = 37


def title(row: Row) -> str:
    """Names a row."""
    sides = "self" if row["n2"] is None else "cross"
    return f"{row['name']} {row['kernel']} {sides}"


def best_peer(row: Row) -> str | None:
    """Returns the peer's implementation with the least median, or None."""
    timed = [name for name in PEERS if "median_s" in row["sides"][name]]
    return min(timed, key=lambda name: row["sides"][name]["median_s"], default=None)


def ratio(row: Row, figure: str, over: str | None = None) -> float | None:
    """Returns the peer's figure over ours; None where one of them has none.

    Args:
        row: A case.
        figure: Its name.
        over: Which of the peer's; None for the one with the least median time.
    """
    name = over or best_peer(row)
    ours = row["sides"][OURS].get(figure)
    theirs = row["sides"].get(name or "", {}).get(figure)
    return None if ours is None or theirs is None else theirs / max(ours, 1e-9)


def peak_bytes(row: Row, name: str) -> int | None:
    """Returns what a kernel needs beside its arguments: temporaries and the result."""
    memory = row["sides"].get(name, {}).get("memory")
    return memory and memory["temp_bytes"] + memory["output_bytes"]


def memory_ratio(row: Row) -> float | None:
    """Returns our peak over that of the peer's best-time implementation."""
    name = best_peer(row)
    ours = peak_bytes(row, OURS)
    theirs = peak_bytes(row, name) if name else None
    return ours / theirs if ours and theirs else None


def limit_s(row: Row, peaks: Mapping[str, float]) -> float:
    """Returns the least time that the machine's rates allow for any known order."""
    least = row["least_work"]
    return max(
        least["flops"] / peaks["flops_per_s"], least["bytes"] / peaks["bytes_per_s"]
    )


def over_limit(row: Row, peaks: Mapping[str, float]) -> float | None:
    """Returns our time over that limit."""
    ours = row["sides"][OURS].get("median_s")
    return None if ours is None else ours / limit_s(row, peaks)


def header() -> str:
    """Returns the line over the table."""
    names = ("ours", "best peer", "speed-up", "ready", "auto", "memory", "limit")
    return f"{'configuration':<{_NAME_WIDTH}}" + "".join(
        f"{n:>22}" if n == "best peer" else f"{n:>10}" for n in names
    )


def line(row: Row, peaks: Mapping[str, float]) -> str:
    """Returns a row as text: milliseconds, and ratios as `report` explains them."""
    name = best_peer(row)
    theirs = row["sides"][name]["median_s"] if name else None
    named = f"{_milliseconds(theirs)} {_SHORT[name] if name else '':<10}"
    return (
        f"{title(row):<{_NAME_WIDTH}}"
        f"{_milliseconds(row['sides'][OURS].get('median_s')):>10}{named:>22}"
        + "".join(
            f"{_number(value):>10}"
            for value in (
                ratio(row, "median_s"),
                ratio(row, "ready_s"),
                ratio(row, "ready_s", AUTO),
                memory_ratio(row),
                over_limit(row, peaks),
            )
        )
    )


def report(results: Mapping[str, Any]) -> str:
    """Returns the table, what failed, and the checks.

    Args:
        results: What the file holds.
    """
    rows: list[Row] = results["cases"]
    peaks = results["peaks"]
    facts, peer = results["environment"], results["peer_versions"]
    head = [
        f"{facts['processor']}, {facts['cores']} cores, "
        f"JAX {facts['versions']['jax']}, commit {facts['git_commit'][:12]}"
        f"{' with changes' * facts['git_dirty']}, {facts['date']}; "
        f"neural-tangents {peer['neural-tangents']} on JAX {peer['jax']}",
        f"peak {peaks['flops_per_s'] / 1e9:.0f} Gflop/s, "
        f"{peaks['bytes_per_s'] / 1e9:.1f} GB/s",
        "medians in ms; speed-up, ready (compile and first call), auto (the same of "
        "AUTO): the peer's over ours; memory: ours over the peer's best; limit: ours "
        "over the least time that the machine allows",
    ]
    table = [header(), *(line(row, peaks) for row in rows)]
    answers = [str(check) for check in checks(rows, peaks)]
    return "\n".join([*head, "", *table, "", *failures(rows), "", *answers])


def failures(rows: Sequence[Row]) -> list[str]:
    """Says of every implementation that failed in a case why it did."""
    return [
        f"{title(row)}: {name}: {row['sides'][name]['error']}"
        for row in rows
        for name in NAMES
        if "error" in row["sides"].get(name, {})
    ]


def checks(rows: Sequence[Row], peaks: Mapping[str, float]) -> list[Check]:
    """Returns the questions that the comparison answers."""
    sequences = [row for row in rows if row["family"] in ("recurrent", "tokens")]
    structured = "structured_derivatives"
    return [
        *(
            _mean(
                f"{kernel} kernels, speed-up over the peer's best, at least {least}",
                [ratio(row, "median_s") for row in rows if row["kernel"] == kernel],
                least,
            )
            for kernel, least in (("full", 2.5), ("trace", 2.0))
        ),
        _least("no case slower than 0.95 of it", rows, "median_s", bound=0.95),
        _least(
            "recurrent and token models, at least 5", sequences, "median_s", bound=5
        ),
        _least(
            "the same over its structured derivatives, at least 30",
            sequences,
            "median_s",
            over=structured,
            bound=30,
        ),
        _mean(
            "compile and first call against its best, at least 1",
            [ratio(row, "ready_s") for row in rows],
            1.0,
        ),
        _mean(
            "compile and first call against its AUTO, at least 2",
            [ratio(row, "ready_s", AUTO) for row in rows],
            2.0,
        ),
        _mean(
            "time / limit, at most 3",
            [over_limit(row, peaks) for row in rows],
            3.0,
            at_most=True,
        ),
        _most_memory(rows),
        _agreement(rows),
    ]


def _mean(
    question: str,
    values: Sequence[float | None],
    bound: float,
    *,
    at_most: bool = False,
) -> Check:
    known = [value for value in values if value is not None]
    if not known:
        return Check(question=question, passed=None, figure="no case")
    mean = geometric_mean(known)
    return Check(
        question=question,
        passed=mean <= bound if at_most else mean >= bound,
        figure=f"{mean:.2f} (geometric mean of {len(known)}, "
        f"{min(known):.2f} to {max(known):.2f})",
    )


def _least(
    question: str,
    rows: Sequence[Row],
    figure: str,
    *,
    over: str | None = None,
    bound: float,
) -> Check:
    known = [
        (value, title(row))
        for row in rows
        if (value := ratio(row, figure, over)) is not None
    ]
    if not known:
        return Check(question=question, passed=None, figure="no case")
    value, name = min(known)
    return Check(
        question=question, passed=value >= bound, figure=f"{value:.2f} ({name})"
    )


def _most_memory(rows: Sequence[Row]) -> Check:
    question = "memory never over that of the peer's best-time implementation"
    known = [
        (value, title(row)) for row in rows if (value := memory_ratio(row)) is not None
    ]
    if not known:
        return Check(question=question, passed=None, figure="no case")
    value, name = max(known)
    over = sum(value > 1 for value, _ in known)
    return Check(
        question=question,
        passed=not over,
        figure=f"{value:.2f} ({name}); over in {over} of {len(known)}",
    )


def _agreement(rows: Sequence[Row]) -> Check:
    """Says how far the nearest of the peer's kernels is: some of its sums are rough."""
    known = [
        (min(differences), title(row))
        for row in rows
        if (
            differences := [
                row["sides"][name]["difference_fraction"]
                for name in PEERS
                if "difference_fraction" in row["sides"][name]
            ]
        )
    ]
    value, name = max(known, default=(float("nan"), "no case"))
    return Check(
        question=f"kernels agree to {_AGREEMENT:g} of the largest entry",
        passed=value <= _AGREEMENT if known else None,
        figure=f"{value:.1e} ({name})",
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
