"""A kernel of two parts that share the memory: some leaves exact, others summed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

from ntkplan.approximation.combine import combined
from ntkplan.errors import MemoryLimitError
from ntkplan.ir.plan import Approximation
from ntkplan.plans import Plan

Planned = Callable[[int, int | None, float], Plan]
"""Plans a kernel for n1, n2 and what it may need at once, in bytes."""

PlanOf = Callable[[frozenset[str], bool], Planned]
"""Studies the kernel of some leaves by their paths; True: of the sum of logits."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """A kernel of two parts, neither of which is planned yet.

    Attributes:
        whole: The exact plan of all of it, with the sizes and the memory limit.
        exact: Plans the exact part.
        summed: Plans the sum of logits.
    """

    whole: Plan
    exact: Planned
    summed: Planned

    def at_best_s(self) -> float:
        """Returns what both take where each may use all of the memory.

        Raises:
            MemoryLimitError: One of them does not fit by itself.
        """
        sizes = self.whole.n1, self.whole.n2, self._limit_bytes
        return self.exact(*sizes).cost.seconds + self.summed(*sizes).cost.seconds

    def plan(self, record: Approximation | None = None) -> Plan:
        """Plans both, the quickest way in which they fit together.

        Args:
            record: What is known of the approximation, once it is.

        Raises:
            MemoryLimitError: They do not fit together.
        """
        return self._at(self.whole, record)

    def _at(self, whole: Plan, record: Approximation | None) -> Plan:
        exact, summed = self._fitting(whole.n1, whole.n2)

        def plan_at(n1: int, n2: int | None) -> Plan:
            return self._at(self.whole.plan_at(n1, n2), record)

        if record is not None:
            record = dataclasses.replace(
                record,
                exact_seconds=whole.cost.seconds,
                seconds=exact.cost.seconds + summed.cost.seconds,
            )
        return combined(exact, summed, whole, plan_at, record)

    def _fitting(self, n1: int, n2: int | None) -> tuple[Plan, Plan]:
        """Returns the quickest of the pairs that fit."""
        pairs = list(self._pairs(n1, n2))
        if not pairs:
            least = sum(
                _least_bytes(each, n1, n2) for each in (self.exact, self.summed)
            )
            raise MemoryLimitError(
                limit_bytes=int(self._limit_bytes), least_bytes=least
            )
        return min(pairs, key=lambda pair: sum(part.cost.seconds for part in pair))

    def _pairs(self, n1: int, n2: int | None) -> Iterator[tuple[Plan, Plan]]:
        """Yields pairs that fit; where both fit as they are, there is nothing better.

        One of them is planned within all of the memory, or half of it, or the least
        that it needs if that is more, and the other within what is left.
        """
        limit_bytes = self._limit_bytes
        with contextlib.suppress(MemoryLimitError):
            exact = self.exact(n1, n2, limit_bytes)
            summed = self.summed(n1, n2, limit_bytes)
            if exact.cost.peak_bytes + summed.cost.peak_bytes <= limit_bytes:
                yield exact, summed
                return
        for first, second in ((self.exact, self.summed), (self.summed, self.exact)):
            for share_bytes in (limit_bytes, limit_bytes / 2):
                with contextlib.suppress(MemoryLimitError):
                    one = _within_or_least(first, n1, n2, share_bytes)
                    other = second(n1, n2, limit_bytes - one.cost.peak_bytes)
                    yield (one, other) if first is self.exact else (other, one)

    @property
    def _limit_bytes(self) -> float:
        return self.whole.cost.memory_limit_bytes


def _within_or_least(
    planned: Planned, n1: int, n2: int | None, limit_bytes: float
) -> Plan:
    try:
        return planned(n1, n2, limit_bytes)
    except MemoryLimitError as error:
        return planned(n1, n2, error.least_bytes)


def _least_bytes(planned: Planned, n1: int, n2: int | None) -> int:
    try:
        return math.ceil(planned(n1, n2, 1.0).cost.peak_bytes)
    except MemoryLimitError as error:
        return error.least_bytes
