"""How much time a calibration has left."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since some fixed moment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Parts of one stretch of time.

    Compiling and timing both stop in time for what follows them, so that the whole
    takes no longer than it may even where every program is slow.

    Attributes:
        start_s: When it began, on the clock.
        total_s: How long it may take.
        clock: Tells the time.
    """

    start_s: float
    total_s: float
    clock: Clock = time.perf_counter

    @property
    def compile_until_s(self) -> float:
        """When no further program is compiled: after half of the time."""
        return self.start_s + 0.5 * self.total_s

    @property
    def time_until_s(self) -> float:
        """When no further program is timed; the rest is for the fit."""
        return self.start_s + 0.85 * self.total_s

    def has(self, until_s: float) -> bool:
        """Whether a moment is still to come."""
        return self.clock() < until_s
