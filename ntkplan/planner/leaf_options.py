"""What a leaf may take, and what a search asks of that again and again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from ntkplan.planner.candidates import Priced


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """Candidates that one leaf has to choose from.

    Attributes:
        items: The candidates, cheapest first.
    """

    items: tuple[Priced, ...]

    @functools.cached_property
    def least_bytes(self) -> float:
        """What the smallest of them needs."""
        return min([item.figures.peak_bytes for item in self.items])

    @functools.cached_property
    def most_bytes(self) -> float:
        """What the largest of them needs."""
        return max([item.figures.peak_bytes for item in self.items])

    @functools.cached_property
    def distinct(self) -> tuple[tuple[frozenset[int], Priced], ...]:
        """The cheapest of those that meet other leaves in the same statements."""
        found: dict[frozenset[int], Priced] = {}
        for item in self.items:
            found.setdefault(item.named.meeting, item)
        return tuple(found.items())

    @functools.cached_property
    def meeting(self) -> frozenset[int]:
        """Statements that candidates of other leaves have as well."""
        return frozenset().union(*(keys for keys, _ in self.distinct))

    @functools.cached_property
    def _by_taps(self) -> tuple[Options, Options]:
        """Those that are not tapped later and those that are; all where none is."""
        split = (
            tuple(item for item in self.items if item.candidate.later is later)
            for later in (False, True)
        )
        first, second = (
            self if len(some) in (0, len(self.items)) else Options(items=some)
            for some in split
        )
        return first, second

    def tapped(self, *, later: bool) -> Options:
        """Returns those that are tapped later, or those that are not.

        Args:
            later: Which of them. Where there are none, all are returned.
        """
        return self._by_taps[later]

    def within(self, resident_bytes: float, limit_bytes: float) -> Options:
        """Returns those that fit, of which there may be none.

        Args:
            resident_bytes: What is held beside them.
            limit_bytes: What there is.
        """
        if resident_bytes + self.most_bytes <= limit_bytes:
            return self
        fitting = (
            item
            for item in self.items
            if resident_bytes + item.peak_bytes <= limit_bytes
        )
        return Options(items=tuple(fitting))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LeafOptions:
    """What the user allows for one leaf.

    Attributes:
        tapped: Candidates for a leaf that is tapped.
        pushed: Those for a leaf that takes part in the push forward.
    """

    tapped: Options
    pushed: Options


def leaf_options(priced: Sequence[tuple[Priced, ...]]) -> tuple[LeafOptions, ...]:
    """Divides the candidates of every leaf.

    Args:
        priced: The candidates, cheapest first.
    """
    found: list[LeafOptions] = []
    for items in priced:
        allowed = [item for item in items if item.allowed]
        pushed = tuple([item for item in allowed if item.named.pushed])
        tapped = tuple([item for item in allowed if not item.named.pushed])
        found.append(
            LeafOptions(tapped=Options(items=tapped), pushed=Options(items=pushed))
        )
    return tuple(found)
