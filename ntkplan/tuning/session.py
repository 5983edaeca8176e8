"""One round of measuring: its budget, its cache, and what has been done so far."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.compiling import jitted
from ntkplan.cost.profile import DeviceProfile
from ntkplan.ir.plan import PlanCost
from ntkplan.tuning import timer
from ntkplan.tuning.cache import Timing, TimingCache, digest
from ntkplan.tuning.machine import free_bytes, surroundings
from ntkplan.tuning.timer import Budget, Measured

# What the program of a leaf takes to compile, where none has been compiled yet, and how
# many lines of a whole kernel take as long. On a CPU kernels of 100 to 1,200 lines took
# 3 to 15 ms a line, one by one, where leaves took 100 ms.
_LEAF_COMPILE_S = 0.1
_LINES_PER_LEAF = 16


class Session:
    """Times groups of programs, each group once.

    Attributes:
        budget: Seconds that all of it may take.
        n_timed: Programs that were timed.
        n_cached: Timings that were read from the cache.
        free_bytes: Memory that a program may take.
    """

    def __init__(
        self, budget_s: float, profile: DeviceProfile, *, limit_bytes: float
    ) -> None:
        self.budget = Budget.of(budget_s)
        self.n_timed = 0
        self.n_cached = 0
        self.free_bytes = min(limit_bytes, free_bytes(profile))
        self._cache = TimingCache(jax.devices()[0].device_kind)
        self._surroundings = surroundings()
        self._leaf_compile_s = math.inf
        self._overheads_s: dict[int, float] = {}

    def key(self, *parts: object) -> str:
        """Returns the key of a program: what it is, and what it runs on."""
        return digest(self._surroundings, *parts)

    def known(self, keys: Sequence[str]) -> list[Measured | None] | None:
        """Returns what a group of programs took, if that is known of all of them."""
        found = [self._cache.get(key) for key in keys]
        answers = [
            timing
            for timing in found
            if timing is not None and timing.answers(self.budget.seconds)
        ]
        if len(answers) < len(keys):
            return None
        self.n_cached += sum(timing.seconds is not None for timing in answers)
        return [
            None
            if timing.seconds is None
            else Measured(
                seconds=timing.seconds, least_s=timing.seconds, doubt=timing.doubt
            )
            for timing in answers
        ]

    def keep(
        self,
        keys: Sequence[str],
        found: Sequence[Measured | None],
        what: Sequence[str],
    ) -> None:
        """Puts what was measured, or could not be, into the cache."""
        for key, measured, words in zip(keys, found, what, strict=True):
            self.n_timed += measured is not None
            timing = Timing(
                seconds=None if measured is None else measured.seconds,
                budget_s=self.budget.seconds,
                what=words,
                doubt=0.0 if measured is None else measured.doubt,
            )
            self._cache.put(key, timing)

    def save(self) -> None:
        """Writes the cache."""
        self._cache.save()

    def compile_estimate_s(self, *, leaves: int = 0, lines: int = 0) -> float:
        """Returns how long compiling will take, going by the quickest leaves so far.

        Args:
            leaves: Programs of single leaves.
            lines: Lines of whole kernels.
        """
        each_s = self._leaf_compile_s
        each_s = _LEAF_COMPILE_S if math.isinf(each_s) else each_s
        return each_s * (leaves + lines / _LINES_PER_LEAF)

    def compiled_leaves(
        self,
        functions: Sequence[Callable[..., Any]],
        arguments: Sequence[Sequence[Any]],
    ) -> list[Callable[[], Any] | None]:
        """Does what `compiled` does, and remembers how long it took."""
        started = Budget.of(0.0)
        calls = self.compiled(functions, arguments)
        self._leaf_compile_s = min(
            self._leaf_compile_s, started.spent_s / len(functions)
        )
        return calls

    def compiled(
        self,
        functions: Sequence[Callable[..., Any]],
        arguments: Sequence[Sequence[Any]],
        *,
        costs: Sequence[PlanCost] = (),
    ) -> list[Callable[[], Any] | None]:
        """Compiles functions for their arguments, side by side.

        Args:
            functions: The functions.
            arguments: Those of each.
            costs: What they are estimated to cost, if they are whole kernels.

        Returns:
            For every function the call, or None where it needs more memory than there
            is.
        """
        traced = [
            jitted(function, cost).lower(*given)
            for function, given, cost in zip(
                functions, arguments, costs or [None] * len(functions), strict=True
            )
        ]
        with ThreadPoolExecutor(max_workers=len(traced)) as pool:
            programs = list(pool.map(lambda item: item.compile(), traced))
        return [
            functools.partial(program, *given)
            if self._needed_bytes(program) <= self.free_bytes
            else None
            for program, given in zip(programs, arguments, strict=True)
        ]

    def _needed_bytes(self, program: Any) -> int:
        analysis = program.memory_analysis()
        names = ("temp_size_in_bytes", "output_size_in_bytes")
        return sum(getattr(analysis, name, 0) for name in names)

    def overhead_s(self, arguments: Sequence[Any]) -> float:
        """Returns what a call costs that is given so many arrays and does nothing."""
        count = len(arguments)
        if count not in self._overheads_s:
            empty = jax.jit(lambda *_: jnp.zeros(()), keep_unused=True)
            program = empty.lower(*arguments).compile()
            (measured,) = timer.race([lambda: program(*arguments)], 0.1)
            self._overheads_s[count] = measured.least_s
        return self._overheads_s[count]

    def race(
        self,
        calls: Sequence[Callable[[], Any]],
        budget_s: float,
        *,
        thorough: bool = False,
    ) -> list[Measured]:
        """Times programs against each other, see `ntkplan.tuning.timer.race`."""
        return timer.race(calls, budget_s, thorough=thorough)
