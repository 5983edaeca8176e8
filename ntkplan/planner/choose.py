"""The choice: one candidate for every leaf, priced as a set."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import sys
from collections.abc import Iterator, Sequence
from typing import cast

from ntkplan.errors import MemoryLimitError
from ntkplan.planner.alike import made_alike
from ntkplan.planner.candidates import Priced, pushable
from ntkplan.planner.division import Decision, decide
from ntkplan.planner.held import Counts
from ntkplan.planner.largest import largest_bytes
from ntkplan.planner.leaf_options import leaf_options
from ntkplan.planner.liveness import most_alive, runs_what_is_ready, turns_of
from ntkplan.planner.merged import merged_bytes
from ntkplan.planner.problem import Problem
from ntkplan.planner.shared import Sharing, push_at_least_s

# Models with no more leaves that may be pushed or not have all divisions tried.
_MOST_FREE = 5

# Leaves whose own part is among the most expensive are also tried one by one.
_SINGLES = 4

# Divisions that push the first leaves and tap the rest, evenly spread.
_PREFIXES = 4


# A program that both sweeps and pushes rests on the estimates of both. It is taken
# where it is expected to gain more than these are off by.
_MIXING_GAIN = 1.5


def choose(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    limit_bytes: float,
    *,
    binding: bool = True,
    below_s: float = math.inf,
) -> Decision:
    """Chooses the cheapest set that fits the memory limit.

    Tapped leaves share one sweep and pushed leaves one push forward, so divisions of
    the leaves are compared as wholes. Given a division, every tapped leaf takes its
    best candidate, given what the others compute anyway, see `select`. Of a model with
    few leaves all divisions are tried. Of others: none pushed, all pushed, the first so
    many pushed, and each of the most expensive leaves pushed, alone and on top of the
    best so far.

    Args:
        problem: The kernel.
        priced: The candidates of every layer, cheapest first.
        limit_bytes: What the kernel may need at once.
        binding: Whether what does not fit is no choice. Leaves then take turns, so that
            no more is alive than the one at work needs.
        below_s: What takes longer is of no use, and need not be looked at.

    Raises:
        MemoryLimitError: No set fits, or is quick enough; the message says the least
            that would fit.
    """
    room = limit_bytes
    while True:
        try:
            found = _cheapest(problem, priced, room, binding, below_s)
        except MemoryLimitError as error:
            raise MemoryLimitError(
                limit_bytes=int(limit_bytes),
                least_bytes=error.least_bytes + math.ceil(limit_bytes - room),
            ) from None
        excess = found.cost.peak_bytes - limit_bytes
        if excess <= 0 or not binding:
            cost = dataclasses.replace(found.cost, memory_limit_bytes=limit_bytes)
            return dataclasses.replace(found, cost=cost)
        # What a compiler makes of several leaves is only known once all are chosen.
        room -= excess


def _cheapest(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    limit_bytes: float,
    binding: bool,
    below_s: float,
) -> Decision:
    """Chooses the cheapest set, of those in which every leaf fits if that binds."""
    search = _Search(problem, priced, limit_bytes if binding else math.inf, below_s)
    for pushed in search.divisions():
        search.attempt(pushed)
    if not search.exhaustive:
        for number in search.most_expensive():
            base = search.best_pushed
            search.attempt(base | {number})
            search.attempt(base - {number} | search.forced)
    if search.best is None:
        # Where all take longer than `below_s`, what they need was not looked at.
        least_bytes = min(search.least_bytes, sys.maxsize)
        raise MemoryLimitError(limit_bytes=0, least_bytes=math.ceil(least_bytes))
    plainer = _finished(search, search.made_alike(search.best), binding)
    if plainer.cost.peak_bytes <= limit_bytes:
        return plainer
    return _finished(search, search.best, binding)


def _finished(search: _Search, decision: Decision, binding: bool) -> Decision:
    """Returns a decision with what the search was, and with all that is alive."""
    problem = search.problem
    in_turn = binding or not runs_what_is_ready(problem, decision.chosen)
    own_bytes = [item.peak_bytes for item in decision.chosen]
    return dataclasses.replace(
        decision,
        exhaustive=search.exhaustive,
        cost=dataclasses.replace(
            decision.cost,
            peak_bytes=bytes_alive(problem, decision, own_bytes, in_turn=in_turn),
            in_turn=in_turn,
            largest_bytes=largest_bytes(problem, decision.chosen),
        ),
    )


def choose_at_once(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    limit_bytes: float,
    unlimited: Decision | None = None,
) -> Decision:
    """Chooses the cheapest set for all examples at once.

    Leaves only take turns where it does not fit otherwise; see `choose`.

    Args:
        problem: The kernel.
        priced: The candidates of every layer, cheapest first.
        limit_bytes: What the kernel may need at once.
        unlimited: What is chosen where memory has no limit, where that is known.

    Raises:
        MemoryLimitError: No set fits; the message says the least that would.
    """
    if unlimited is None:
        unlimited = choose(problem, priced, limit_bytes, binding=False)
    if unlimited.cost.peak_bytes <= limit_bytes:
        return unlimited
    return choose(problem, priced, limit_bytes)


class _Search:
    """Compares divisions of the leaves into tapped and pushed ones.

    Attributes:
        problem: The kernel.
        forced: Leaves that can only be pushed.
        able: Leaves that can be pushed.
        exhaustive: Whether all divisions are tried.
        best: The best decision so far, or None.
        least_bytes: The least that any division tried so far needs.
    """

    def __init__(
        self,
        problem: Problem,
        priced: Sequence[tuple[Priced, ...]],
        limit_bytes: float,
        below_s: float,
    ) -> None:
        self.problem, self._priced, self._limit = problem, priced, limit_bytes
        self._options = leaf_options(priced)
        self._sharing = Sharing.at_once(problem)
        self._below_s = below_s
        self.forced, self.able = pushable(priced)
        self.exhaustive = len(self.able - self.forced) <= _MOST_FREE
        self.best: Decision | None = None
        self.least_bytes = float("inf")
        self._seen: set[frozenset[int]] = set()
        self._tapped: Decision | None = None
        self._push_bounds = _push_bounds(problem)

    @property
    def best_pushed(self) -> frozenset[int]:
        """Leaves that the best decision pushes."""
        return self.forced if self.best is None else _pushed(self.best)

    def divisions(self) -> Iterator[frozenset[int]]:
        """Yields the sets of pushed leaves that are always tried, none pushed first."""
        free = sorted(self.able - self.forced)
        if self.exhaustive:
            for count in range(len(free) + 1):
                for chosen in itertools.combinations(free, count):
                    yield self.forced | frozenset(chosen)
            return
        yield self.forced
        yield self.able
        layers = self.problem.study.layers
        by_depth = sorted(
            self.able, key=lambda number: layers[number].stacks[0].first.equation
        )
        step = max(1, len(by_depth) // _PREFIXES)
        for count in range(step, len(by_depth), step):
            yield self.forced | frozenset(by_depth[:count])

    def most_expensive(self) -> list[int]:
        """Returns the leaves whose own part takes longest where they are tapped."""
        return sorted(self.able - self.forced, key=self._own_seconds)[
            -1 : -_SINGLES - 1 : -1
        ]

    def _own_seconds(self, number: int) -> float:
        return min(
            (
                item.seconds
                for item in self._priced[number]
                if item.allowed and not item.pushed
            ),
            default=0.0,
        )

    def attempt(self, pushed: frozenset[int]) -> None:
        """Prices one division, unless it cannot be better than what is known."""
        if pushed in self._seen:
            return
        self._seen.add(pushed)
        mixed = 0 < len(pushed) < len(self._priced) and pushed != self.forced
        needed_gain = _MIXING_GAIN if mixed else 1.0
        if self._is_hopeless(pushed, needed_gain):
            return
        decision, needed = decide(
            self.problem,
            self._sharing,
            self._options,
            pushed,
            self._limit,
        )
        self.least_bytes = min(self.least_bytes, needed)
        if decision is None:
            return
        if not pushed:
            self._tapped = decision
        if (
            self.best is None
            or decision.cost.seconds * needed_gain < self.best.cost.seconds
        ):
            self.best = decision

    def made_alike(self, decision: Decision) -> Decision:
        """Returns a decision in which more leaves have the orders of others."""
        return made_alike(
            self.problem, self._sharing, self._options, decision, self._limit
        )

    def _is_hopeless(self, pushed: frozenset[int], needed_gain: float) -> bool:
        """Says whether a division takes too long, before its passes are counted.

        The bounds on what its tangents take are tried one after the other, those that
        are soon found first.
        """
        known_s = self.best.cost.seconds if self.best else self._below_s
        kept_s = self._kept_s(pushed)
        bound = sum(self._push_bounds[number] for number in pushed)
        bound += self._onward_s(pushed)
        if (kept_s + bound) * needed_gain >= known_s:
            return True
        if not pushed:
            return False
        if self.best is None:
            # What is known is of another search: it has to be reached, not surpassed.
            needed_gain = 1.0
        if not math.isinf(self._limit):
            # With fewer tapped leaves the others have more room, for what is quicker.
            kept_s = 0.0
        layers = [self.problem.study.layers[number] for number in sorted(pushed)]
        return any(
            # What is added up in another order may differ in the last digits.
            (kept_s + push_s * (1 - 1e-9)) * needed_gain >= known_s
            for push_s in push_at_least_s(self.problem, layers)
        )

    def _kept_s(self, pushed: frozenset[int]) -> float:
        """Returns what a division takes at least beside its tangents.

        Against the division that pushes none it saves no more than the sweep and the
        own parts of what it pushes.
        """
        if self._tapped is None:
            return 0.0
        cost = self._tapped.cost
        own_s = sum(self._tapped.chosen[number].seconds for number in pushed)
        return max(0.0, cost.seconds - cost.sweep_seconds - own_s)

    def _onward_s(self, pushed: frozenset[int]) -> float:
        """Returns the least time in which tangents are carried on to the output."""
        problem = self.problem
        points = 1 if problem.spec.matched else problem.n1
        columns = problem.n2 * problem.n_basis
        flops = problem.study.onward_flops(pushed)
        return flops * points * columns / _peak(problem)


def _peak(problem: Problem) -> float:
    """Returns the highest rate that the device has."""
    return max(rate.peak_flops_per_s for rate in problem.profile.rates)


def _push_bounds(problem: Problem) -> list[float]:
    """Returns for every leaf the least time in which its tangents are multiplied.

    One product of a tangent with the activations, for each column and example, at the
    highest rate that the device has.
    """
    columns = problem.n2 * problem.n_basis
    points = 1 if problem.spec.matched else problem.n1
    loops_s = problem.profile.launch.loop_overhead_s * columns
    return [
        loops_s + flops * columns * points / _peak(problem)
        for flops in problem.study.own_flops
    ]


def _pushed(decision: Decision) -> frozenset[int]:
    return frozenset(
        number for number, item in enumerate(decision.chosen) if item.pushed
    )


def bytes_alive(
    problem: Problem, decision: Decision, own_bytes: Sequence[float], *, in_turn: bool
) -> float:
    """Returns the most bytes of a kernel that are alive at once.

    Args:
        problem: The kernel.
        decision: What is chosen for it.
        own_bytes: What each leaf needs in its own part.
        in_turn: Whether leaves take turns.
    """
    if in_turn:
        beside = merged_bytes(problem, decision.chosen)
        return decision.shared.peak_bytes(map(operator.add, own_bytes, beside))
    own = [math.ceil(each) for each in own_bytes]
    turns, pushed = turns_of(problem.study.layers, decision.chosen, own)
    counts = Counts.of(problem, symbolic=False)
    return max(cast(float, each) for each in most_alive(problem, turns, pushed, counts))
