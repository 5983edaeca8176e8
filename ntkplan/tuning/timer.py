"""Programs timed against each other, within a budget of seconds."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

_ROUNDS = 9
_TURN_S = 0.02
_TURN_CALLS = 10


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


def race(calls: Sequence[Callable[[], Any]], budget_s: float) -> list[float]:
    """Times programs in interleaved rounds, so that a disturbance meets all of them.

    Each is run once before it counts. A quick one is run several times in a row in
    every round. There are nine rounds, fewer where the budget is spent, at least one.

    Args:
        calls: Compiled programs with their arguments.
        budget_s: Seconds that the rounds may take together.

    Returns:
        The least seconds of every program.
    """
    for call in calls:
        jax.block_until_ready(call())
    best = [float("inf")] * len(calls)
    order = random.Random(0)
    budget = Budget.of(budget_s)
    for _ in range(_ROUNDS):
        for number in order.sample(range(len(calls)), len(calls)):
            best[number] = min(best[number], _turn(calls[number]))
        if budget.left_s <= budget.spent_s / _ROUNDS:
            break
    return best


def _turn(call: Callable[[], Any]) -> float:
    """Returns the least seconds of a few calls in a row."""
    best, turn = float("inf"), Budget.of(_TURN_S)
    for _ in range(_TURN_CALLS):
        started_s = time.perf_counter()
        jax.block_until_ready(call())
        best = min(best, time.perf_counter() - started_s)
        if turn.left_s < best:
            break
    return best
