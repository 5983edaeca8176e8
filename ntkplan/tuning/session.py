"""One round of measuring: its budget, its cache, and what has been done so far."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.cost.profile import DeviceProfile
from ntkplan.tuning import timer
from ntkplan.tuning.cache import Timing, TimingCache, digest
from ntkplan.tuning.machine import free_bytes, surroundings
from ntkplan.tuning.timer import Budget

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

    def known(self, keys: Sequence[str]) -> list[float | None] | None:
        """Returns the seconds of a group of programs, if all of them are known."""
        found = [self._cache.get(key) for key in keys]
        answers = [
            timing
            for timing in found
            if timing is not None and timing.answers(self.budget.seconds)
        ]
        if len(answers) < len(keys):
            return None
        self.n_cached += sum(timing.seconds is not None for timing in answers)
        return [timing.seconds for timing in answers]

    def keep(
        self, keys: Sequence[str], seconds: Sequence[float | None], what: Sequence[str]
    ) -> None:
        """Puts what was measured, or could not be, into the cache."""
        for key, measured_s, words in zip(keys, seconds, what, strict=True):
            self.n_timed += measured_s is not None
            timing = Timing(
                seconds=measured_s, budget_s=self.budget.seconds, what=words
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
    ) -> list[Callable[[], Any] | None]:
        """Compiles jitted functions for their arguments, side by side.

        Returns:
            For every function the call, or None where it needs more memory than there
            is.
        """
        lowered = [
            function.lower(*given)  # pyright: ignore[reportFunctionMemberAccess]
            for function, given in zip(functions, arguments, strict=True)
        ]
        with ThreadPoolExecutor(max_workers=len(lowered)) as pool:
            programs = list(pool.map(lambda item: item.compile(), lowered))
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
            (seconds,) = timer.race([lambda: program(*arguments)], 0.1)
            self._overheads_s[count] = seconds
        return self._overheads_s[count]

    def race(self, calls: Sequence[Callable[[], Any]], budget_s: float) -> list[float]:
        """Times programs against each other."""
        return timer.race(calls, budget_s)
