"""The tables of README and docs, as the results have them; `--docs` writes them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peer.configurations import KERNELS
from benchmarks.peer.contest import AUTO, OURS, Row
from benchmarks.peer.report import (
    best_peer,
    checks,
    failures,
    memory_ratio,
    over_limit,
    peak_bytes,
    ratio,
)
from benchmarks.regret_statistics import geometric_mean

_ROOT = Path(__file__).resolve().parents[2]
_SHORT = {
    "jacobian_contraction": "JC",
    "ntk_vector_products": "NTVP",
    "structured_derivatives": "SD",
}


def summary_table(results: Mapping[str, Any]) -> str:
    """Returns README's table, `x2` absent, and the means over all cases."""
    head = (
        "configuration",
        "neural-tangents' best, ms",
        "ntkplan, ms",
        "speed-up, full kernel",
        "speed-up, trace kernel",
        "memory over its best's",
    )
    alone = [row for row in results["cases"] if row["n2"] is None]
    traces = {row["name"]: row for row in alone if row["kernel"] == "trace"}
    lines = [
        (
            f"`{row['name']}`",
            _best(row),
            _milliseconds(row, OURS),
            _times(ratio(row, "median_s")),
            _times(ratio(traces[row["name"]], "median_s"))
            if row["name"] in traces
            else "",
            _times(memory_ratio(row)),
        )
        for row in alone
        if row["kernel"] == "full"
    ]
    return f"{_table(head, lines)}\n\n{_means(results['cases'])}"


def _means(rows: Sequence[Row]) -> str:
    """Says what holds over all cases."""
    gains = {
        kernel: [
            gain
            for row in rows
            if row["kernel"] == kernel and (gain := ratio(row, "median_s")) is not None
        ]
        for kernel in KERNELS
    }
    means = " and ".join(
        f"{geometric_mean(values):.2f} for {kernel} kernels"
        for kernel, values in gains.items()
    )
    known = [gain for values in gains.values() for gain in values]
    ready = [value for row in rows if (value := ratio(row, "ready_s")) is not None]
    over = sum((memory_ratio(row) or 0) > 1 for row in rows)
    return (
        f"Over all {len(known)} cases, those with a second batch too, the speed-up is "
        f"{means} (geometric means); the least is {min(known):.2f}. Compilation and "
        f"first call take {1 / geometric_mean(ready):.2f} times as long as its, and in "
        f"{over} cases ntkplan needs more memory."
    )


def full_table(results: Mapping[str, Any]) -> str:
    """Returns the table of all cases."""
    head = (
        "case",
        "its best, ms",
        "ntkplan, ms",
        "speed-up",
        "ready",
        "AUTO ready",
        "memory, MB: its best",
        "ntkplan",
        "time / limit",
    )
    lines = [
        (
            f"`{row['name']}` {row['kernel']} "
            f"{'self' if row['n2'] is None else 'cross'}",
            _best(row),
            _milliseconds(row, OURS),
            _times(ratio(row, "median_s")),
            _times(ratio(row, "ready_s")),
            _times(ratio(row, "ready_s", AUTO)),
            _megabytes(row, best_peer(row)),
            _megabytes(row, OURS),
            _times(over_limit(row, results["peaks"])),
        )
        for row in results["cases"]
    ]
    return _table(head, lines)


def answers(results: Mapping[str, Any]) -> str:
    """Returns what the results answer, as a table."""
    lines = [
        (check.question, "yes" if check.passed else "**no**", check.figure)
        for check in checks(results["cases"], results["peaks"])
    ]
    return _table(("question", "answer", "figure"), lines)


def failed_list(results: Mapping[str, Any]) -> str:
    """Returns what failed, and why."""
    found = failures(results["cases"])
    return "\n".join(f"- {text}" for text in found) if found else "Nothing."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a document.

    Attributes:
        document: The document.
        mark: What stands before it.
        results: Name of the file of results, without its ending.
        make: Makes it of these.
    """

    document: str
    mark: str
    results: str = "peer_cpu"
    make: Callable[[Mapping[str, Any]], str]


_PERFORMANCE = "docs/performance.md"
TABLES = (
    Table(document="README.md", mark="peer summary", make=summary_table),
    Table(document=_PERFORMANCE, mark="peer cases", make=full_table),
    Table(document=_PERFORMANCE, mark="peer failures", make=failed_list),
    Table(document=_PERFORMANCE, mark="peer answers", make=answers),
    Table(
        document=_PERFORMANCE,
        mark="peer answers with AVX-512",
        results="peer_cpu_avx512",
        make=answers,
    ),
)


def written(text: str, mark: str, table: str) -> str:
    """Puts a table between its marks.

    Raises:
        ValueError: The text has no such marks.
    """
    pattern = re.compile(f"(<!-- {mark} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no <!-- {mark} --> ... <!-- end -->")
    return pattern.sub(lambda found: f"{found[1]}\n{table}\n\n{found[3]}", text)


def write(results: Mapping[str, Any], name: str) -> None:
    """Writes all tables of one file of results to where they stand.

    Args:
        results: What it holds.
        name: Its name, without its ending.
    """
    for table in TABLES:
        if table.results == name:
            file = _ROOT / table.document
            text = file.read_text(encoding="utf-8")
            changed = written(text, table.mark, table.make(results))
            file.write_text(changed, encoding="utf-8")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _best(row: Row) -> str:
    name = best_peer(row)
    return "failed" if name is None else f"{_milliseconds(row, name)} ({_SHORT[name]})"


def _milliseconds(row: Row, name: str) -> str:
    seconds = row["sides"][name].get("median_s")
    return "failed" if seconds is None else f"{seconds * 1e3:.3g}"


def _megabytes(row: Row, name: str | None) -> str:
    count = peak_bytes(row, name) if name else None
    return "" if count is None else f"{count / 1e6:.3g}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
