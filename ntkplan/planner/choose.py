"""The choice: one candidate for every leaf, priced as a set."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from ntkplan.errors import MemoryLimitError
from ntkplan.ir.plan import PlanCost
from ntkplan.ir.use import Layer
from ntkplan.methods.sharing import Key
from ntkplan.planner.candidates import Part, Priced
from ntkplan.planner.shared import Problem, SharedWork, shared_work

# Leaves whose own part is among the most expensive are also tried one by one.
_SINGLES = 4

# Divisions that push the first leaves and tap the rest, evenly spread.
_PREFIXES = 4


# A program that both sweeps and pushes rests on the estimates of both. It is taken
# where it is expected to gain more than these are off by.
_MIXING_GAIN = 1.5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What was chosen.

    Attributes:
        chosen: One candidate for every layer.
        parts: What each adds to the work, given those before it.
        shared: What they share.
        cost: Of the whole.
    """

    chosen: tuple[Priced, ...]
    parts: tuple[tuple[Part, ...], ...]
    shared: SharedWork
    cost: PlanCost


def choose(
    problem: Problem,
    layers: Sequence[Layer],
    priced: Sequence[tuple[Priced, ...]],
    limit_bytes: float,
) -> Decision:
    """Chooses the cheapest set that fits the memory limit.

    Tapped leaves share one sweep and pushed leaves one push forward, so divisions of
    the leaves are compared as wholes. Given a division, every tapped leaf takes its
    best candidate, given what the others compute anyway. The divisions tried are: none
    pushed, all pushed, the first so many pushed, and each of the most expensive leaves
    pushed, alone and on top of the best so far.

    Raises:
        MemoryLimitError: No set fits; the message says the least that would.
    """
    best: Decision | None = None
    least = float("inf")
    seen: set[frozenset[int]] = set()

    known: SharedWork | None = None
    # The loops alone, whatever leaves are pushed, and whatever their work.
    hopeless_s = (
        problem.profile.launch.loop_overhead_s * problem.n2 * problem.spec.n_basis
    )
    forced = frozenset(
        number
        for number, items in enumerate(priced)
        if all(item.pushed for item in items if item.allowed)
    )

    def attempt(pushed: frozenset[int]) -> None:
        nonlocal best, least, known
        if pushed in seen or (best and pushed and hopeless_s >= best.cost.seconds):
            return
        seen.add(pushed)
        shared = shared_work(
            problem,
            [layer for number, layer in enumerate(layers) if number not in pushed],
            [layer for number, layer in enumerate(layers) if number in pushed],
            known=known,
        )
        known = shared
        decision, needed = _decide(problem, shared, priced, pushed, limit_bytes)
        least = min(least, needed)
        mixed = 0 < len(pushed) < len(layers) and pushed != forced
        needed_gain = _MIXING_GAIN if mixed else 1.0
        if decision is not None and (
            best is None or decision.cost.seconds * needed_gain < best.cost.seconds
        ):
            best = decision

    able = frozenset(
        number
        for number, items in enumerate(priced)
        if any(item.pushed and item.allowed for item in items)
    )
    for pushed in _divisions(layers, forced, able):
        attempt(pushed)
    for number in _most_expensive(priced, able - forced):
        base = forced if best is None else _pushed(best)
        attempt(base | {number})
        attempt(base - {number} | forced)
    if best is None:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=math.ceil(least)
        )
    return best


def _pushed(decision: Decision) -> frozenset[int]:
    return frozenset(
        number for number, item in enumerate(decision.chosen) if item.pushed
    )


def _divisions(
    layers: Sequence[Layer], forced: frozenset[int], able: frozenset[int]
) -> Iterator[frozenset[int]]:
    """Yields the sets of pushed leaves that are always tried."""
    yield forced
    yield able
    by_depth = sorted(able, key=lambda number: layers[number].stacks[0].first.equation)
    step = max(1, len(by_depth) // _PREFIXES)
    for count in range(step, len(by_depth), step):
        yield forced | frozenset(by_depth[:count])


def _most_expensive(
    priced: Sequence[tuple[Priced, ...]], able: frozenset[int]
) -> list[int]:
    def own(number: int) -> float:
        return min(
            (
                item.seconds
                for item in priced[number]
                if item.allowed and not item.pushed
            ),
            default=0.0,
        )

    return sorted(able, key=own, reverse=True)[:_SINGLES]


def _decide(
    problem: Problem,
    shared: SharedWork,
    priced: Sequence[tuple[Priced, ...]],
    pushed: frozenset[int],
    limit_bytes: float,
) -> tuple[Decision | None, float]:
    """Prices one division.

    Returns:
        The decision, or None where it does not fit; and the least bytes it needs.
    """
    fitting: list[list[Priced]] = []
    least = max(shared.resident_bytes, shared.sweep_bytes)
    for number, items in enumerate(priced):
        options = [
            item for item in items if item.allowed and item.pushed == (number in pushed)
        ]
        if not options:
            return None, float("inf")
        smallest = min(item.peak_bytes for item in options)
        least = max(least, shared.resident_bytes + smallest)
        fits = [
            item
            for item in options
            if shared.resident_bytes + item.peak_bytes <= limit_bytes
        ]
        fitting.append(fits)
    if least > limit_bytes:
        return None, least
    chosen = _descend(fitting)
    parts = _own_parts(chosen)
    return (
        Decision(
            chosen=tuple(chosen),
            parts=parts,
            shared=shared,
            cost=_cost(problem, chosen, parts, shared, limit_bytes),
        ),
        least,
    )


def _descend(options: Sequence[Sequence[Priced]]) -> list[Priced]:
    """Takes for every leaf its best option, given what the others compute anyway.

    Starts from each leaf's own best and improves one leaf at a time until nothing
    changes; the time falls with every change.
    """
    chosen = [items[0] for items in options]
    users = Counter(key for item in chosen for key in item.keys)
    changed = True
    while changed:
        changed = False
        for number, items in enumerate(options):
            users.subtract(chosen[number].keys)
            computed = {key for key, count in users.items() if count > 0}
            current = chosen[number].marginal_seconds(computed)
            best = min(items, key=lambda item: item.marginal_seconds(computed))
            if best.marginal_seconds(computed) < current * (1 - 1e-9):
                chosen[number], changed = best, True
            users.update(chosen[number].keys)
    return chosen


def _own_parts(chosen: Sequence[Priced]) -> tuple[tuple[Part, ...], ...]:
    """Returns what each candidate adds to the work, given those before it."""
    computed: set[Key] = set()
    found: list[tuple[Part, ...]] = []
    for item in chosen:
        found.append(item.own(computed))
        computed.update(item.keys)
    return tuple(found)


def _cost(
    problem: Problem,
    chosen: Sequence[Priced],
    parts: Sequence[Sequence[Part]],
    shared: SharedWork,
    limit_bytes: float,
) -> PlanCost:
    forward = problem.seconds(shared.forward)
    sweep = problem.seconds(shared.sweep)
    own = [part for many in parts for part in many]
    contraction = sum(part.seconds for part in own)
    launch = problem.profile.launch
    push = problem.seconds(shared.push) + launch.loop_overhead_s * cast(
        float, shared.loops
    )
    works = [shared.forward, shared.sweep, shared.push]
    call = problem.profile.launch.call_overhead_s
    return PlanCost(
        seconds=call + forward + sweep + contraction + push,
        forward_seconds=forward,
        sweep_seconds=sweep,
        contraction_seconds=contraction,
        push_seconds=push,
        flops=float(sum(cast(float, work.flops) for work in works))
        + sum(part.flops for part in own),
        bytes_moved=float(
            sum(
                cast(float, work.bytes_read) + cast(float, work.bytes_written)
                for work in works
            )
        )
        + sum(part.bytes_moved for part in own),
        peak_bytes=max(
            shared.sweep_bytes,
            *(shared.resident_bytes + item.peak_bytes for item in chosen),
        ),
        memory_limit_bytes=limit_bytes,
    )
