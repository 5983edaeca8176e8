"""Times compiled programs against each other, interleaved, in one process."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

_ROUND_S = 0.05
_ROUND_CALLS = 10


class OutOfPatienceError(Exception):
    """Something took longer than it may."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Timed:
    """A program that is ready to be run, and what its calls took.

    Attributes:
        function: The compiled program.
        arguments: What it is called with.
        budget_s: Seconds after which no further call is begun, once there is one.
        samples_s: Seconds of every call, in order.
        first_s: Seconds of the first call, infinite before it.
        round_calls: How many samples each round added, in order.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    budget_s: float
    samples_s: list[float] = dataclasses.field(default_factory=list)
    first_s: float = float("inf")
    round_calls: list[int] = dataclasses.field(default_factory=list)

    def call(self) -> Any:
        """Runs it once, keeps the time and returns the result once it is there."""
        started_s = time.perf_counter()
        result = jax.block_until_ready(self.function(*self.arguments))
        self.samples_s.append(time.perf_counter() - started_s)
        return result

    def warm_up(self) -> tuple[Any, float]:
        """Runs it once and returns the result and the seconds.

        The first call also brings memory in, so that it only counts as a sample where
        the budget allows no other.
        """
        result = self.call()
        self.first_s = self.samples_s[0]
        if self.first_s < self.budget_s:
            self.samples_s.clear()
        return result, self.first_s

    def round(self) -> None:
        """Runs it once, and more often where that is quick, while its budget lasts.

        A quick program first runs once without being timed: what ran before it has
        left its own data in the caches and has given memory back.
        """
        began = len(self.samples_s)
        if not self._spent and self.first_s < _ROUND_S:
            jax.block_until_ready(self.function(*self.arguments))
        while not self._spent:
            self.call()
            done = self.samples_s[began:]
            if len(done) >= _ROUND_CALLS or sum(done) + done[-1] > _ROUND_S:
                break
        self.round_calls.append(len(self.samples_s) - began)

    def settle(self) -> None:
        """Keeps the first call as its only sample: it is run no more."""
        self.samples_s[:] = [self.first_s]
        self.budget_s = 0.0

    @property
    def _spent(self) -> bool:
        """Whether the next call, as long as the shortest so far, is over the budget."""
        if not self.samples_s:
            return False
        return sum(self.samples_s) + min(self.samples_s) > self.budget_s


def interleave(programs: Sequence[Timed], rounds: int) -> None:
    """Runs all programs round by round, each round in another order.

    Whatever slows the machine down for a while then slows every program down, and no
    program always follows the same one. The orders are random, and always the same.

    Args:
        programs: What to run.
        rounds: How many rounds.
    """
    generator = random.Random(0)
    for _ in range(rounds):
        for program in generator.sample(programs, len(programs)):
            program.round()


@contextlib.contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Raises once what is inside has taken too long.

    Python code, such as tracing, is stopped where it is. A call into the compiler
    cannot be stopped: the error comes when it returns.

    Args:
        seconds: How long to wait; at least 1.

    Raises:
        OutOfPatienceError: It took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("patience works in the main thread only")

    def give_up(*_: Any) -> None:
        raise OutOfPatienceError(f"not ready within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def memory_figures(compiled: Any) -> dict[str, int]:
    """Returns the compiler's figures of memory, in bytes; empty where it has none."""
    analysis = compiled.memory_analysis()
    names = ("temp", "argument", "output", "alias", "generated_code")
    figures = {
        f"{name}_bytes": getattr(analysis, f"{name}_size_in_bytes", None)
        for name in names
    }
    figures["peak_bytes"] = getattr(analysis, "peak_memory_in_bytes", None)
    return {name: value for name, value in figures.items() if value is not None}


def xla_flops(compiled: Any) -> float | None:
    """Returns the compiler's count of floating-point operations, where it has one.

    It counts the body of a loop once.
    """
    analysis = compiled.cost_analysis()
    return None if analysis is None else analysis.get("flops")


def summary(samples_s: Sequence[float]) -> Mapping[str, Any]:
    """Returns median, minimum and the samples themselves, in seconds.

    Args:
        samples_s: At least one.

    Example:
        >>> summary([3.0, 1.0, 2.0])["median_s"]
        2.0
    """
    return {
        "median_s": statistics.median(samples_s),
        "minimum_s": min(samples_s),
        "samples_s": list(samples_s),
    }
