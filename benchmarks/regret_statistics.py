"""What the times of a configuration say about a choice: regret, gain, and their means.

A row is a configuration in the results of `benchmarks.regret`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.candidates import CHOSEN, FORCED, TUNED

Row = Mapping[str, Any]

CONTESTANTS = (CHOSEN, *FORCED, TUNED)
UNLIKE_FAMILIES = ("residual", "u_net", "transformer_tokens")
"""Families whose layers are so unlike that no single method should suit them all."""
NEAR = 0.05
"""A regret up to this counts as near the best."""


def median_s(row: Row, name: str) -> float | None:
    """Returns a candidate's median, or None where it was not timed."""
    return row["candidates"].get(name, {}).get("median_s")


def best(row: Row) -> str | None:
    """Returns the contestant with the least median; None where none was timed."""
    return _quickest(row, CONTESTANTS)


def best_uniform(row: Row) -> str | None:
    """Returns the forced method with the least median; None where none was timed."""
    return _quickest(row, FORCED)


def _quickest(row: Row, names: Sequence[str]) -> str | None:
    medians = {name: median_s(row, name) for name in names}
    timed = {name: value for name, value in medians.items() if value is not None}
    return min(timed, key=lambda name: timed[name]) if timed else None


def least_flops(row: Row) -> str | None:
    """Returns the forced method that the compiler counts the fewest operations for.

    So chooses the incumbent: every method compiled, the least `xla_flops` taken.
    """
    counts = {name: row["candidates"].get(name, {}).get("xla_flops") for name in FORCED}
    known = {name: count for name, count in counts.items() if count is not None}
    return min(known, key=lambda name: known[name]) if known else None


def regret(row: Row, name: str | None) -> float | None:
    """Returns (time of a candidate - time of the best) / time of the best, by medians.

    Args:
        row: A configuration.
        name: The candidate; None is nobody's choice.

    Returns:
        The fraction, or None where the candidate was not timed.
    """
    leader = best(row)
    took_s = None if name is None else median_s(row, name)
    if leader is None or took_s is None:
        return None
    least_s = median_s(row, leader)
    assert least_s is not None
    return took_s / least_s - 1


def round_medians(candidate: Mapping[str, Any]) -> list[float | None]:
    """Returns the median of every round; None for a round without a call.

    Args:
        candidate: One of a row's candidates, timed.

    Example:
        >>> round_medians({"samples_s": [9.0, 1.0, 3.0, 2.0], "round_calls": [1, 0, 3]})
        [9.0, None, 2.0]
    """
    samples, counts = candidate["samples_s"], candidate["round_calls"]
    begin = len(samples) - sum(counts)
    medians: list[float | None] = []
    for count in counts:
        part = samples[begin : begin + count]
        medians.append(statistics.median(part) if part else None)
        begin += count
    return medians


def paired_regret(row: Row, name: str | None) -> float | None:
    """Returns the median over rounds of the regret within a round.

    What slows the machine down for some rounds slows both programs down then, and
    leaves their ratio as it is.

    Returns:
        The fraction; None where the candidate and the best share no round.
    """
    leader = best(row)
    if leader is None or name is None or median_s(row, name) is None:
        return None
    own = round_medians(row["candidates"][name])
    least = round_medians(row["candidates"][leader])
    ratios = [a / b for a, b in zip(own, least, strict=False) if a and b]
    return statistics.median(ratios) - 1 if ratios else None


def gain(row: Row) -> float | None:
    """Returns the best forced method's median over the chosen plan's."""
    uniform, chosen_s = best_uniform(row), median_s(row, CHOSEN)
    if uniform is None or chosen_s is None:
        return None
    uniform_s = median_s(row, uniform)
    assert uniform_s is not None
    return uniform_s / chosen_s


def geometric_mean(values: Sequence[float]) -> float:
    """Returns the geometric mean of positive numbers, at least one.

    Example:
        >>> geometric_mean([1.0, 4.0])
        2.0
    """
    return math.exp(statistics.fmean(math.log(value) for value in values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The regrets of one way to choose, over configurations.

    Attributes:
        count: Configurations in which what it chooses was timed.
        missing: Configurations in which it was not.
        mean: Mean regret, a fraction.
        worst: The largest.
        worst_name: Where that is.
        near_share: Share of the counted with a regret of at most `NEAR`.
    """

    count: int
    missing: int
    mean: float
    worst: float
    worst_name: str
    near_share: float


def summarise(regrets: Mapping[str, float | None]) -> Summary | None:
    """Summarises regrets by the names of their configurations.

    Args:
        regrets: None where there is none.

    Returns:
        The summary, or None where no configuration has a regret.
    """
    known = {name: value for name, value in regrets.items() if value is not None}
    if not known:
        return None
    worst_name = max(known, key=lambda name: known[name])
    return Summary(
        count=len(known),
        missing=len(regrets) - len(known),
        mean=statistics.fmean(known.values()),
        worst=known[worst_name],
        worst_name=worst_name,
        near_share=sum(value <= NEAR for value in known.values()) / len(known),
    )
