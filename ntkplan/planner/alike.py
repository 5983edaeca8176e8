"""Orders that other leaves have, for leaves that lose next to nothing by them.

Leaves that are contracted alike are one function in the source. Where the stages of a
model differ so little in their costs that each has another order, or the last block is
tapped later for the last thousandth, a reader pays for what nobody can measure.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ntkplan.ir.statements import Array, Cut
from ntkplan.methods.candidate import Candidate
from ntkplan.planner.candidates import Priced
from ntkplan.planner.division import Decision, redecided
from ntkplan.planner.leaf_options import LeafOptions, Options
from ntkplan.planner.problem import Problem
from ntkplan.planner.shared import Sharing

_MOST_LOSS = 0.015
"""What all changes together may cost, as a fraction of the kernel's expected time."""

_LEAST_LEAVES = 3
"""An order is common, and a function in the source, where so many leaves have it."""

Kind = tuple[object, ...]


def made_alike(
    problem: Problem,
    sharing: Sharing,
    options: Sequence[LeafOptions],
    decision: Decision,
    limit_bytes: float,
    seconds_of: Callable[[Decision], float] = lambda decision: decision.cost.seconds,
) -> Decision:
    """Returns a decision with fewer orders of contraction, nearly as quick.

    All leaves of one order, or all that are tapped later, change together, those first
    that cost least.

    Args:
        problem: The sizes at which the candidates were priced.
        sharing: Says what tapped and pushed layers share.
        options: What every layer may take.
        decision: What was chosen from them.
        limit_bytes: What the kernel may need at once.
        seconds_of: Returns what the kernel takes as a whole, where the problem is one
            tile of it.
    """
    kinds = _Kinds()
    most_s = seconds_of(decision) * (1 + _MOST_LOSS)
    best = decision
    while True:
        room_s = most_s - seconds_of(best)
        changed = [
            redecided(problem, sharing, best, chosen, limit_bytes)
            for chosen in _changes(problem, options, best.chosen, kinds, room_s)
        ]
        fitting = [
            each
            for each in changed
            if seconds_of(each) <= most_s and each.cost.peak_bytes <= limit_bytes
        ]
        if not fitting:
            break
        best = min(fitting, key=seconds_of)
    pairs = zip(best.chosen, decision.chosen, strict=True)
    moved = (number for number, (new, old) in enumerate(pairs) if new is not old)
    return dataclasses.replace(best, made_alike=frozenset(moved))


def _changes(
    problem: Problem,
    options: Sequence[LeafOptions],
    chosen: Sequence[Priced],
    kinds: _Kinds,
    room_s: float,
) -> Iterator[list[Priced]]:
    """Yields what may be chosen instead, every time with an order less."""
    free = [
        number
        for number, (layer, item) in enumerate(
            zip(problem.study.layers, chosen, strict=True)
        )
        if not item.pushed and not layer.by_tangents and layer is not problem.study.cut
    ]
    own = {number: kinds.of(chosen[number]) for number in free}
    groups = [
        [n for n in free if own[n] == kind] for kind in dict.fromkeys(own.values())
    ]
    later = [number for number in free if chosen[number].candidate.later]
    for group in (*groups, later):
        users = Counter(own[number] for number in free if number not in group)
        common = {kind for kind, count in users.items() if count >= _LEAST_LEAVES}
        if not group or not common:
            continue
        others = set(range(len(chosen))).difference(group)
        computed = {key for number in others for key in chosen[number].keys}
        found = list(chosen)
        for number in group:
            known_s = chosen[number].marginal_seconds(computed)
            item = _cheapest(
                options[number].tapped, computed, kinds, common, known_s + room_s
            )
            if item is None:
                break
            found[number] = item
        else:
            yield found


def _cheapest(
    options: Options,
    computed: set[int],
    kinds: _Kinds,
    common: set[Kind],
    most_s: float,
) -> Priced | None:
    """Returns the cheapest option of a common kind, if there is one."""
    able = (
        (seconds, number)
        for number, item in enumerate(options.items)
        if (seconds := item.marginal_seconds(computed)) <= most_s
    )
    for _, number in sorted(able):
        if kinds.of(options.items[number]) in common:
            return options.items[number]
    return None


class _Kinds:
    """Says what candidates do, whatever their arrays and sizes are."""

    def __init__(self) -> None:
        self._known: dict[int, Kind] = {}

    def of(self, item: Priced) -> Kind:
        """Returns what is equal for candidates that are printed alike."""
        form = item.named.form
        if form not in self._known:
            self._known[form] = _kind(item.candidate)
        return self._known[form]


def _kind(candidate: Candidate) -> Kind:
    names: dict[str, object] = {}
    labels: dict[str | None, int] = {None: -1}

    def name(array_name: str) -> object:
        kind, *rest = array_name.split(":")
        return names.setdefault(array_name, (len(names), kind if rest else ""))

    def spelled(array: Array) -> object:
        every = (*array.labels, array.hot)
        own = tuple(labels.setdefault(label, len(labels)) for label in every)
        return (name(array.name), own, array.step)

    statements = tuple(
        (
            type(each).__name__,
            isinstance(each, Cut) and each.patches.is_slice,
            tuple(spelled(array) for array in (*each.sources, each.target)),
        )
        for each in candidate.statements
    )
    results = tuple((spelled(array), factor) for array, factor in candidate.results)
    return (candidate.method, candidate.loop, candidate.later, statements, results)
