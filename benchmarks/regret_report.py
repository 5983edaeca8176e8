"""Reads the results of `benchmarks.regret` as a table and as answers to questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.candidates import CHOSEN, FORCED, TUNED
from benchmarks.compare_report import Check
from benchmarks.regret_statistics import (
    CONTESTANTS,
    UNLIKE_FAMILIES,
    Row,
    Summary,
    best,
    gain,
    geometric_mean,
    least_flops,
    median_s,
    paired_regret,
    regret,
    summarise,
)

_TITLES = {
    CHOSEN: "chosen",
    "forced_jacobian_contraction": "jacobian",
    "forced_structured_derivatives": "structured",
    "forced_ntk_vector_products": "ntk-vp",
    TUNED: "tuned",
}
_NAME_WIDTH = 36
_AGREEMENT = 2e-5
LEAST_FLOPS = "least XLA FLOPs"


def report(results: Mapping[str, Any]) -> str:
    """Returns the table, what was not timed, the means and the checks.

    Args:
        results: What the file holds.
    """
    rows: list[Row] = results["configurations"]
    facts = results["environment"]
    head = (
        f"{facts['processor']}, {facts['cores']} cores, {facts['device_kind']}, "
        f"JAX {facts['versions']['jax']}, commit {facts['git_commit'][:12]}"
        f"{' with changes' if facts['git_dirty'] else ''}, {facts['date']}; medians in "
        "ms, * the same program as the chosen one; regrets in %"
    )
    lines = [head, "", header(), *(line(row) for row in rows), ""]
    lines += [f"not timed: {reason}" for reason in _reasons(rows)]
    if results["tuned_left_out"]:
        lines.append(f"no candidate `tuned`: {results['tuned_left_out']}")
    lines += ["", *_means(rows), "", *_gains(rows), "", *map(str, checks(rows))]
    return "\n".join(lines)


def header() -> str:
    """Returns the line over the table."""
    titles = "".join(f"{_TITLES[name]:>11}" for name in CONTESTANTS)
    rest = "".join(
        f"{title:>9}" for title in ("regret", "paired", "tuned", "flops", "gain")
    )
    return f"{'configuration':{_NAME_WIDTH}}{titles}  {'best':10}{rest}{'differ':>9}"


def line(row: Row) -> str:
    """Returns a configuration's line of the table."""
    times = "".join(f"{_milliseconds(row, name):>11}" for name in CONTESTANTS)
    leader = best(row)
    regrets = (
        regret(row, CHOSEN),
        paired_regret(row, CHOSEN),
        regret(row, TUNED),
        regret(row, least_flops(row)),
    )
    shown = "".join(f"{_percent(value):>9}" for value in regrets)
    return (
        f"{row['name']:{_NAME_WIDTH}}{times}  {_TITLES[leader] if leader else '-':10}"
        f"{shown}{_number(gain(row), '.2f'):>9}"
        f"{_number(row['max_difference_fraction'], '.0e'):>9}"
    )


def regrets_of(rows: Sequence[Row], way: str) -> dict[str, float | None]:
    """Returns the regret of a way to choose in every configuration, by its name.

    Args:
        rows: The configurations.
        way: A candidate, or `LEAST_FLOPS`.
    """
    return {
        row["name"]: regret(row, least_flops(row) if way == LEAST_FLOPS else way)
        for row in rows
    }


def _means(rows: Sequence[Row]) -> list[str]:
    lines = [f"{'regret':22}{'mean':>9}{'worst':>9}{'near':>9}{'of':>5}  worst at"]
    for way in (CHOSEN, TUNED, *FORCED, LEAST_FLOPS):
        found = summarise(regrets_of(rows, way))
        lines.append(_mean_line(_TITLES.get(way, way), found))
    paired = {row["name"]: paired_regret(row, CHOSEN) for row in rows}
    lines.append(_mean_line("chosen, paired", summarise(paired)))
    return lines


def _mean_line(title: str, found: Summary | None) -> str:
    if found is None:
        return f"{title:22}{'-':>9}"
    return (
        f"{title:22}{_percent(found.mean):>9}{_percent(found.worst):>9}"
        f"{found.near_share:>9.0%}{found.count:>5}  {found.worst_name}"
    )


def _gains(rows: Sequence[Row]) -> list[str]:
    """Says for each family what the choice gains over the best uniform method."""
    families = dict.fromkeys(row["family"] for row in rows)
    lines = ["chosen against the best uniform method, geometric mean of the speed-up"]
    for family in families:
        values = _known_gains(rows, (family,))
        mean = _number(geometric_mean(values) if values else None, ".2f")
        each = " ".join(f"{value:.2f}" for value in values)
        lines.append(f"  {family:24}{mean:>6}  of {each}")
    return lines


def _known_gains(rows: Sequence[Row], families: Sequence[str]) -> list[float]:
    values = [gain(row) for row in rows if row["family"] in families]
    return [value for value in values if value is not None]


def _reasons(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row['name']} {name}: {candidate['error'].splitlines()[0]}"
        for row in rows
        for name, candidate in row["candidates"].items()
        if "error" in candidate
    ]


def checks(rows: Sequence[Row]) -> list[Check]:
    """Returns what must show, each with its answer.

    Args:
        rows: The results' configurations.
    """
    families = {row["family"] for row in rows}
    timed = sum(best(row) is not None for row in rows)
    chosen = summarise(regrets_of(rows, CHOSEN))
    tuned = summarise(regrets_of(rows, TUNED))
    return [
        Check(
            question="at least 40 configurations of 10 families",
            passed=timed >= 40 and len(families) >= 10,
            figure=f"{timed} of {len(families)}",
        ),
        _mean_check("mean regret of the choice at most 4 %", chosen, 0.04),
        _worst_check(chosen),
        _near_check(chosen),
        _mean_check("mean regret with tune=True at most 1 %", tuned, 0.01),
        _gain_check(rows),
        _agreement_check(rows),
    ]


def _mean_check(question: str, found: Summary | None, limit: float) -> Check:
    if found is None or found.missing:
        return _unanswered(question, found)
    figure = f"{found.mean:.1%}"
    return Check(question=question, passed=found.mean <= limit, figure=figure)


def _worst_check(found: Summary | None) -> Check:
    question = "worst regret of the choice at most 30 %"
    if found is None or found.missing:
        return _unanswered(question, found)
    figure = f"{found.worst:.1%} ({found.worst_name})"
    return Check(question=question, passed=found.worst <= 0.3, figure=figure)


def _near_check(found: Summary | None) -> Check:
    question = "the choice within 5 % of the best in at least 80 %"
    if found is None or found.missing:
        return _unanswered(question, found)
    figure = f"in {found.near_share:.0%}"
    return Check(question=question, passed=found.near_share >= 0.8, figure=figure)


def _unanswered(question: str, found: Summary | None) -> Check:
    figure = "-" if found is None else f"no times in {found.missing} configurations"
    return Check(question=question, passed=None, figure=figure)


def _gain_check(rows: Sequence[Row]) -> Check:
    question = f"1.3 times the best uniform method on {', '.join(UNLIKE_FAMILIES)}"
    values = _known_gains(rows, UNLIKE_FAMILIES)
    if not values or not {row["family"] for row in rows}.issuperset(UNLIKE_FAMILIES):
        return Check(question=question, passed=None, figure="-")
    mean = geometric_mean(values)
    return Check(question=question, passed=mean >= 1.3, figure=f"{mean:.2f} times")


def _agreement_check(rows: Sequence[Row]) -> Check:
    question = f"all kernels agree to {_AGREEMENT:.0e} of the largest entry"
    differences = {row["name"]: row["max_difference_fraction"] for row in rows}
    if not differences or None in differences.values():
        return Check(question=question, passed=None, figure="-")
    # NaN is no agreement either.
    wrong = [name for name, value in differences.items() if not value <= _AGREEMENT]
    shown = wrong or [max(differences, key=lambda name: differences[name])]
    figure = ", ".join(f"{name} {differences[name]:.0e}" for name in shown)
    return Check(question=question, passed=not wrong, figure=figure)


def _milliseconds(row: Row, name: str) -> str:
    took_s = median_s(row, name)
    candidate = row["candidates"].get(name, {})
    if took_s is None:
        return "error" if "error" in candidate else "-"
    mark = "*" if candidate.get("same_program_as") == CHOSEN else ""
    return f"{took_s * 1e3:.2f}{mark}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.1f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
