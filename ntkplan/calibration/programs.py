"""Programs that are compiled and timed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan._jax import enable_x64
from ntkplan.calibration.budget import Budget
from ntkplan.calibration.case import Case
from ntkplan.cost.profile import ITEM_BYTES

_ROUND_S = 2e-3
_ROUND_CALLS = 8
_COMPILERS = 2
"""Programs compiled at a time: XLA compiles outside of Python's lock."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Timed:
    """A compiled program and the times of its rounds, in seconds.

    Attributes:
        function: The jitted program.
        arguments: What it is called with.
        wide: Whether it needs 64-bit types.
        rounds: The least time of each round.
        expected_s: What one call took before the rounds, to plan them.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    wide: bool = False
    rounds: list[float] = dataclasses.field(default_factory=list)
    expected_s: float = 0.0

    def once(self) -> float:
        """Runs it once and returns the seconds."""
        start = time.perf_counter()
        jax.block_until_ready(self.function(*self.arguments))
        return time.perf_counter() - start

    def round(self) -> None:
        """Runs it for about 2 ms, at least once, and keeps the least time.

        A quick program's first run is not counted: another one ran before it and has
        left its own data in the caches.
        """
        with types(self.wide):
            took = self.once()
            best, spent, calls = took, took, 1
            while spent < _ROUND_S and calls < _ROUND_CALLS:
                took = self.once()
                best, spent, calls = min(best, took), spent + took, calls + 1
        self.rounds.append(best)

    @property
    def least(self) -> float:
        """The least time of all rounds."""
        return min(self.rounds)


def types(wide: bool) -> contextlib.AbstractContextManager[Any]:
    """Allows 64-bit types for a while, in this thread alone."""
    return enable_x64() if wide else contextlib.nullcontext()


def compile_cases(
    cases: Sequence[Case],
    device: Any,
    budget: Budget,
    advance: Callable[[], None] = lambda: None,
    most_bytes: float = math.inf,
) -> list[tuple[Case, Timed]]:
    """Compiles cases on random arguments, in order, while there is time and memory.

    Args:
        cases: The ones that matter most first.
        device: The JAX device.
        budget: Says when to stop; what has not begun then is left out.
        advance: Called after every program.
        most_bytes: Most bytes of all arguments together; a case whose arguments do not
            fit is left out.

    Returns:
        Each case with its program, which has run once.
    """
    arrays = Arrays(device)

    def compiled(case: Case) -> tuple[Case, Timed] | None:
        if not budget.has(budget.compile_until_s):
            return None
        if arrays.nbytes + arrays.more_bytes(case) > most_bytes:
            return None
        found = compile_case(case, arrays)
        advance()
        return case, found

    with concurrent.futures.ThreadPoolExecutor(_COMPILERS) as pool:
        return [found for found in pool.map(compiled, cases) if found is not None]


def compile_case(case: Case, arrays: Arrays) -> Timed:
    """Compiles one case, and runs it once."""
    wide = case.dtype in ("float64", "complex128")

    def program(*arguments: Any) -> Any:
        # Set while tracing: set around a call, it would have to be so at every one.
        with jax.default_matmul_precision(case.precision):
            return case.function(*arguments)

    # A thread has a default device of its own: with another one than where the rounds
    # are run, every program would be compiled a second time there.
    with jax.default_device(arrays.device), types(wide):
        timed = Timed(
            function=jax.jit(program),
            arguments=tuple(
                arrays.get(position, shape, case.dtype)
                for position, shape in enumerate(case.shapes)
            ),
            wide=wide,
        )
        timed.once()
        timed.expected_s = timed.once()
    return timed


class Arrays:
    """Random arguments on the device; equal ones are shared."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self._known: dict[Any, Any] = {}
        self._random = np.random.default_rng(0).random(2**20, dtype=np.float32) - 0.5

    @property
    def nbytes(self) -> int:
        """Bytes of all arguments made so far."""
        return sum(array.nbytes for array in list(self._known.values()))

    def more_bytes(self, case: Case) -> int:
        """Returns the bytes of a case's arguments that were not made yet."""
        total = 0
        for position, shape in enumerate(case.shapes):
            if (position, shape, case.dtype) not in self._known:
                whole = shape and shape[0] == "index"
                itemsize = 4 if whole else ITEM_BYTES[case.dtype]
                total += itemsize * math.prod(shape[2:] if whole else shape)
        return total

    def get(self, position: int, shape: tuple[Any, ...], dtype: str) -> Any:
        """Returns the argument of that shape at that position of a program."""
        key = (position, shape, dtype)
        if key not in self._known:
            made = self._made(shape, dtype, zlib.crc32(repr(key).encode()))
            self._known[key] = jax.device_put(made, self.device)
        return self._known[key]

    def _made(self, shape: tuple[Any, ...], dtype: str, seed: int) -> np.ndarray:
        if shape and shape[0] == "index":
            generator = np.random.default_rng(seed)
            return generator.integers(0, shape[1], shape[2:], dtype=np.int32)
        start = seed % (len(self._random) // 2)
        numbers = np.resize(self._random[start:], math.prod(shape))
        return numbers.reshape(shape).astype(jnp.dtype(dtype))


def affordable(programs: Sequence[Timed], budget: Budget, rounds: int) -> list[Timed]:
    """Returns as many programs, from the first on, as there is time to run in rounds.

    One that would take more than a fiftieth of the time is left out first.

    Args:
        programs: The ones that matter most first.
        budget: Says how much time there is.
        rounds: How often each has to run at least.
    """
    left_s = budget.time_until_s - budget.clock()
    most_s = left_s / 50
    kept: list[Timed] = []
    for program in programs:
        needed_s = rounds * _round_seconds(program.expected_s)
        if needed_s > most_s:
            continue
        left_s -= needed_s
        if left_s < 0:
            break
        kept.append(program)
    return kept


def _round_seconds(call_s: float) -> float:
    return min(_ROUND_CALLS * call_s, max(call_s, _ROUND_S) + call_s)


def interleave(
    programs: Sequence[Timed],
    rounds: int,
    budget: Budget,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Runs all programs round by round, each round in another order.

    Whatever slows the machine down for a while then slows every program down. Stops
    when there is no time left.

    Args:
        programs: What to run.
        rounds: Most rounds.
        budget: Says when to stop.
        advance: Called after every program.
    """
    for order in _orders(len(programs), rounds):
        for index in order:
            if not budget.has(budget.time_until_s):
                return
            programs[index].round()
            advance()


def _orders(length: int, rounds: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        yield generator.permutation(length)


def noise(programs: Sequence[Timed]) -> tuple[float, float]:
    """Returns median and 90th percentile of (median - least) / least of the rounds.

    Args:
        programs: Every one of them was timed.
    """
    spread = [
        (float(np.median(program.rounds)) - program.least) / program.least
        for program in programs
    ]
    return round(float(np.median(spread)), 4), round(float(np.quantile(spread, 0.9)), 4)
