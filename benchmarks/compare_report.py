"""Reads the results of `benchmarks.compare` as a table and as answers to questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks.candidates import CHOSEN, FORCED, NAMES, PLAIN

_TITLES = {
    CHOSEN: "chosen",
    "forced_jacobian_contraction": "jacobian",
    "forced_structured_derivatives": "structured",
    "forced_ntk_vector_products": "ntk-vp",
    "plain_jacobian_contraction": "plain jac",
    "plain_ntk_vector_products": "plain ntk-vp",
}
_NAME_WIDTH = 35

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A question that the results answer.

    Attributes:
        question: What must show.
        passed: Whether it does; None where the results do not say.
        figure: What was measured.
    """

    question: str
    passed: bool | None
    figure: str

    def __str__(self) -> str:
        """Returns the answer, the question and the figure."""
        answer = {True: "yes", False: "NO", None: "not measured"}[self.passed]
        return f"{answer:>12}  {self.question}: {self.figure}"


def report(results: Row) -> str:
    """Returns the table, what failed, and the checks.

    Args:
        results: What the file holds.
    """
    rows: list[Row] = results["configurations"]
    facts = results["environment"]
    head = (
        f"{facts['processor']}, {facts['cores']} cores, {facts['device_kind']}, "
        f"JAX {facts['versions']['jax']}, commit {facts['git_commit'][:12]}"
        f"{' with changes' if facts['git_dirty'] else ''}, {facts['date']}; "
        "medians in ms; * the same program as the chosen one"
    )
    lines = [head, "", header(), *(line(row) for row in rows), ""]
    errors = [
        f"{row['name']} {name}: {candidate['error'].splitlines()[0]}"
        for row in rows
        for name, candidate in row["candidates"].items()
        if "error" in candidate
    ]
    lines += [f"not run: {error}" for error in errors]
    lines += ["", *map(str, checks(rows)), "", _wins(rows)]
    return "\n".join(lines)


def header() -> str:
    """Returns the line over the table."""
    titles = "".join(f"{_TITLES[name]:>13}" for name in NAMES)
    return (
        f"{'configuration':{_NAME_WIDTH}}{titles}{'ratio':>7}{'plan s':>8}"
        f"{'estimate':>10}{'differ':>9}"
    )


def line(row: Row) -> str:
    """Returns a configuration's line of the table.

    Args:
        row: One of the results' configurations.
    """
    found: dict[str, Row] = row["candidates"]
    times = "".join(f"{_milliseconds(found[name]):>13}" for name in NAMES)
    chosen = found[CHOSEN]
    values = (
        (_number(ratio(row), ".2f"), 7),
        (_number(chosen.get("plan_s"), ".2f"), 8),
        (_number(_thousandfold(chosen.get("estimated_s")), ".2f"), 10),
        (_number(row["max_difference_fraction"], ".0e"), 9),
    )
    rest = "".join(f"{text:>{width}}" for text, width in values)
    return f"{row['name']:{_NAME_WIDTH}}{times}{rest}"


def ratio(row: Row) -> float | None:
    """Returns the chosen plan's median over that of the best forced method."""
    chosen = row["candidates"][CHOSEN].get("median_s")
    medians = [row["candidates"][name].get("median_s") for name in FORCED]
    known = [median for median in medians if median is not None]
    return None if chosen is None or not known else chosen / min(known)


def checks(rows: Sequence[Row]) -> list[Check]:
    """Returns what must show, each with its answer.

    Args:
        rows: The results' configurations.
    """
    return [
        _structured_beats_plain(rows),
        _choice_is_good(rows),
        _planning_is_fast(rows),
        _kernels_agree(rows),
    ]


def _structured_beats_plain(rows: Sequence[Row]) -> Check:
    question = (
        "structured derivatives at least 100 times faster than plain Jacobian "
        "contraction, MLP 784-512x3-10 at n=32"
    )
    for row in rows:
        found = row["candidates"]
        slow = found["plain_jacobian_contraction"].get("median_s")
        fast = found["forced_structured_derivatives"].get("median_s")
        if row["name"] == "mlp_n32_o10" and slow and fast:
            figure = f"{slow / fast:.0f} times ({slow * 1e3:.0f} ms, {fast * 1e3:.1f})"
            return Check(question=question, passed=slow >= 100 * fast, figure=figure)
    return Check(question=question, passed=None, figure="-")


def _choice_is_good(rows: Sequence[Row]) -> Check:
    question = "the choice never slower than 1.5 times the best forced method"
    ratios = {row["name"]: ratio(row) for row in rows}
    missing = [name for name, value in ratios.items() if value is None]
    known = {name: value for name, value in ratios.items() if value is not None}
    if missing or not known:
        figure = f"no times for {', '.join(missing)}"
        return Check(question=question, passed=None, figure=figure)
    worst = max(known, key=lambda name: known[name])
    over = sum(value > 1.5 for value in known.values())
    figure = f"at worst {known[worst]:.2f} ({worst}); {over} of {len(known)} over"
    return Check(question=question, passed=over == 0, figure=figure)


def _planning_is_fast(rows: Sequence[Row]) -> Check:
    question = "planning, trace included, under 2 s for ResNet-18"
    seconds = {
        row["name"]: row["candidates"][CHOSEN].get("plan_s")
        for row in rows
        if row["name"].startswith("resnet18")
    }
    if not seconds or None in seconds.values():
        return Check(question=question, passed=None, figure="-")
    figure = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    return Check(question=question, passed=max(seconds.values()) < 2.0, figure=figure)


def _kernels_agree(rows: Sequence[Row]) -> Check:
    question = "all kernels agree to 2e-5 of the largest entry"
    differences = {row["name"]: row["max_difference_fraction"] for row in rows}
    if not differences or None in differences.values():
        return Check(question=question, passed=None, figure="-")
    wrong = [name for name, value in differences.items() if not value <= 2e-5]
    figure = f"at worst {max(differences.values()):.0e}"
    if wrong:
        figure = ", ".join(f"{name} {differences[name]:.0e}" for name in wrong)
    return Check(question=question, passed=not wrong, figure=figure)


def _wins(rows: Sequence[Row]) -> str:
    """Says which forced method is the fastest where, and what the choice gains."""
    parts: list[str] = []
    for group, label in ((FORCED, "forced method"), (PLAIN, "plain program")):
        counts = dict.fromkeys(group, 0)
        for row in rows:
            medians = {
                name: row["candidates"][name]["median_s"]
                for name in group
                if "median_s" in row["candidates"][name]
            }
            if medians:
                counts[min(medians, key=lambda name: medians[name])] += 1
        each = ", ".join(f"{_TITLES[name]} {count}" for name, count in counts.items())
        parts.append(f"fastest {label}: {each}")
    return "\n".join(parts)


def _milliseconds(candidate: Row) -> str:
    if "median_s" not in candidate:
        return "error" if "error" in candidate else "-"
    mark = "*" if candidate.get("same_program_as") == CHOSEN else ""
    return f"{candidate['median_s'] * 1e3:.2f}{mark}"


def _thousandfold(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
