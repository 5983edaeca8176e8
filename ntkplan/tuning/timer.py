"""Programs timed against each other, within a budget of seconds."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

_ROUNDS = 9
_MOST_ROUNDS = 36
_TURN_S = 0.02
_TURN_CALLS = 10

# Programs that take less are run once in every turn before they are timed.
_WARM_S = 0.05

# Of normal noise the standard error of a median, in median distances from it.
_ERROR_OF_MEDIAN = 1.2533 * 1.4826


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Seconds that may be spent, and when they began to run.

    Attributes:
        seconds: All of them.
        started_s: Reading of the clock when they began.
    """

    seconds: float
    started_s: float

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """Starts the clock."""
        return cls(seconds=seconds, started_s=time.perf_counter())

    @property
    def spent_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.started_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative where it is overdrawn."""
        return self.seconds - self.spent_s

    def part(self, fraction: float) -> Budget:
        """Returns a budget of a fraction of what is left, beginning now."""
        return Budget.of(max(0.0, self.left_s * fraction))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a program took in a race.

    Attributes:
        seconds: Of a call: the first program's median over the rounds, times the median
            over the rounds of how many times as long this one took.
        least_s: The least seconds of any call.
        doubt: Standard error of the logarithm of that ratio; 0 for the first program.
    """

    seconds: float
    least_s: float
    doubt: float

    def beats(self, other: Measured) -> bool:
        """Says whether a program is faster than another, by more than may be noise."""
        doubt = _SURE * math.hypot(self.doubt, other.doubt)
        gain = math.log(other.seconds / self.seconds)
        return gain > max(doubt, LEAST_GAIN)


LEAST_GAIN = 0.01
"""What a program has to gain at least to be called faster."""

_SURE = 2.0
"""How many standard errors a difference must be."""


def race(
    calls: Sequence[Callable[[], Any]], budget_s: float, *, thorough: bool = False
) -> list[Measured]:
    """Times programs in interleaved rounds, so that a disturbance meets all of them.

    Each is run once before it counts. A quick one is run several times in a row in
    every round. Programs are compared with the first round by round. There are nine
    rounds, fewer where the budget is spent, at least one.

    Args:
        calls: Compiled programs with their arguments.
        budget_s: Seconds that the rounds may take together.
        thorough: Whether there are more rounds, up to 36, while it is open whether a
            program is faster than the first.

    Returns:
        What each took.
    """
    first_s = [_seconds(call) for call in calls]
    rounds: list[list[list[float]]] = []
    order = random.Random(0)
    budget = Budget.of(budget_s)
    while True:
        turns: list[list[float]] = [[] for _ in calls]
        for number in order.sample(range(len(calls)), len(calls)):
            turns[number] = _turn(calls[number], warm=first_s[number] < _WARM_S)
        rounds.append(turns)
        if budget.left_s <= budget.spent_s / len(rounds):
            break
        enough = len(rounds) >= _ROUNDS
        if enough and not (thorough and _is_open(_measured(rounds))):
            break
        if len(rounds) >= _MOST_ROUNDS:
            break
    return _measured(rounds)


def _measured(rounds: Sequence[Sequence[Sequence[float]]]) -> list[Measured]:
    """Compares the programs with the first, round by round."""
    typical = [[statistics.median(turn) for turn in turns] for turns in rounds]
    first_s = statistics.median(turns[0] for turns in typical)
    found: list[Measured] = []
    for number in range(len(rounds[0])):
        ratios = [math.log(turns[number] / turns[0]) for turns in typical]
        ratio = statistics.median(ratios)
        spread = statistics.median(abs(each - ratio) for each in ratios)
        found.append(
            Measured(
                seconds=first_s * math.exp(ratio),
                least_s=min(min(turns[number]) for turns in rounds),
                doubt=_ERROR_OF_MEDIAN * spread / math.sqrt(len(ratios)),
            )
        )
    return found


def _is_open(found: Sequence[Measured]) -> bool:
    """Says whether some program may yet turn out to be faster than the first."""
    return any(
        abs(math.log(found[0].seconds / item.seconds) - LEAST_GAIN) < _SURE * item.doubt
        for item in found[1:]
    )


def _turn(call: Callable[[], Any], *, warm: bool) -> list[float]:
    """Returns the seconds of a few calls in a row.

    A quick program first runs once without being timed: what ran before it has left its
    own data in the caches.
    """
    if warm:
        _seconds(call)
    found: list[float] = []
    turn = Budget.of(_TURN_S)
    while len(found) < _TURN_CALLS:
        found.append(_seconds(call))
        if turn.left_s < found[-1]:
            break
    return found


def _seconds(call: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - started_s
