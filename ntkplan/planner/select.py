"""One option for every leaf, given that equal statements are computed once."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ntkplan.planner.candidates import Priced
from ntkplan.planner.leaf_options import Options

MOST_COMBINATIONS = 2_000
"""Leaves that share statements are tried in all combinations up to this many."""


def select(options: Sequence[Options]) -> list[Priced]:
    """Takes an option for every leaf, so that all together take least.

    Leaves whose options have no statement in common are independent. A group of leaves
    that have is tried in all combinations, where these are few; else it starts from
    each leaf's own best and improves one leaf at a time until nothing changes.

    Args:
        options: For every leaf at least one.

    Returns:
        One for every leaf.
    """
    users = Counter(itertools.chain.from_iterable(each.meeting for each in options))
    shared = {key for key, count in users.items() if count > 1}
    few = [_undominated(each, shared) for each in options]
    chosen = [items[0] for items in few]
    for group in _groups(few, shared):
        members = [few[number] for number in group]
        if math.prod(map(len, members)) <= MOST_COMBINATIONS:
            best = min(itertools.product(*members), key=total_seconds)
        else:
            best = _descend(members)
        for number, item in zip(group, best, strict=True):
            chosen[number] = item
    return chosen


def total_seconds(chosen: Iterable[Priced]) -> float:
    """Returns the time of candidates together, each distinct statement once."""
    computed: set[int] = set()
    seconds = 0.0
    for item in chosen:
        for key, taken_s in item.timed:
            if key is None:
                seconds += taken_s
            elif key not in computed:
                computed.add(key)
                seconds += taken_s
    return seconds


def _undominated(options: Options, shared: set[int]) -> list[Priced]:
    """Keeps the cheapest of the options that have the same statements to share."""
    if options.meeting.isdisjoint(shared):
        return [options.items[0]]
    found: dict[frozenset[int], Priced] = {}
    for keys, item in options.distinct:
        found.setdefault(keys & shared, item)
    alone = next((item for keys, item in found.items() if not keys), None)
    if alone is None:
        return list(found.values())
    # What shares something may cost more than what shares nothing, but not what
    # would cost more even if all that is shared were free.
    return [
        item
        for keys, item in found.items()
        if item is alone or item.marginal_seconds(keys) < alone.seconds
    ]


def _groups(options: Sequence[Sequence[Priced]], shared: set[int]) -> list[list[int]]:
    """Returns the leaves that have a choice and share statements, group by group."""
    group_of: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    keys_of: dict[int, set[int]] = {}
    for number, items in enumerate(options):
        keys = {key for item in items for key in item.named.meeting & shared}
        members = [number]
        for group in {group_of[key] for key in keys if key in group_of}:
            members += groups.pop(group)
            keys |= keys_of.pop(group)
        groups[number], keys_of[number] = members, keys
        group_of.update(dict.fromkeys(keys, number))
    return [
        sorted(members)
        for members in groups.values()
        if any(len(options[member]) > 1 for member in members)
    ]


def _descend(options: Sequence[Sequence[Priced]]) -> list[Priced]:
    """Improves one leaf at a time; the time falls with every change."""
    chosen = [items[0] for items in options]
    users = Counter(key for item in chosen for key in item.keys)
    changed = True
    while changed:
        changed = False
        for number, items in enumerate(options):
            users.subtract(chosen[number].keys)

            def marginal(item: Priced) -> float:
                return sum(
                    seconds
                    for key, seconds in item.timed
                    if key is None or users[key] <= 0
                )

            best = min(items, key=marginal)
            if marginal(best) < marginal(chosen[number]) * (1 - 1e-9):
                chosen[number], changed = best, True
            users.update(chosen[number].keys)
    return chosen
