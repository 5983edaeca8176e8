"""Which passes a compiler joins, and what they read and write together."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.amount import NOTHING, ONE, Amount, Level, Tally, sum_of
from ntkplan.rules.work.step import Fuses, Pass

Key = Hashable
"""What names a value: its number, or that of a tangent or cotangent."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Node:
    """What runs for one equation.

    Attributes:
        tallies: Its operations, where it runs alone.
        fused: Its one pass, where it may be joined with others.
        levels: Levels of that pass's operands, in the order of its reads.
        reads: Values that are read, with the bytes of each.
        writes: Values that are made, with the bytes of each.
        position: Of the equation in its list, where that is of interest.
    """

    tallies: tuple[Tally, ...] = ()
    fused: Pass | None = None
    levels: dict[int, Level] = dataclasses.field(default_factory=dict)
    reads: dict[Key, Amount] = dataclasses.field(default_factory=dict)
    writes: dict[Key, Amount] = dataclasses.field(default_factory=dict)
    position: int = -1

    @functools.cached_property
    def alone(self) -> Tally:
        """The operation of the pass, if it were joined with no other."""
        assert self.fused is not None
        return self.fused.tally(self.levels)


@dataclasses.dataclass(kw_only=True)
class Fused:
    """What a list of nodes does once it is fused.

    Attributes:
        tallies: In order of their first node.
        peak: Most bytes of results alive at once, as an upper bound.
        written: The values that are written to memory; left open where the peak is.
    """

    tallies: list[Tally]
    peak: Amount
    written: frozenset[Key] = frozenset()


def fuse(
    nodes: Sequence[Node], kept: Iterable[Key] = (), *, with_peak: bool = True
) -> Fused:
    """Joins what a compiler joins.

    The result of an elementwise pass is written only where something else than an
    elementwise pass or a reduction reads it, or nothing here does. A pass that several
    others read is computed in each; its operations are counted once.

    Args:
        nodes: In order.
        kept: Values that are written even where they need not be.
        with_peak: Whether to count what is alive at once; it is left open otherwise.
    """
    found, kept = _without_aliases(nodes, set(kept))
    readers, inside, groups = _joined(found, kept)
    members: dict[int, list[_Reading]] = defaultdict(list)
    tallies: list[Tally] = []
    for index, reading in enumerate(found):
        if reading[0].fused is None:
            tallies.extend(reading[0].tallies)
        else:
            members[groups.root(index)].append(reading)
    tallies.extend(_together(group, inside) for group in members.values())
    if not with_peak:
        return Fused(tallies=tallies, peak=NOTHING)
    peak = _peak(found, inside, readers, kept)
    written = frozenset(key for node, _ in found for key in node.writes) - inside
    return Fused(tallies=tallies, peak=peak, written=written)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Life:
    """How long a value that is written stays alive.

    Attributes:
        key: Its name.
        size: Its bytes.
        position: Of the equation that it is written for.
        first: Its number among all that is written, in order.
        last: The number of the last that is made of it.
    """

    key: Key
    size: Amount
    position: int
    first: int
    last: int


def lives(nodes: Sequence[Node]) -> Iterator[Life]:
    """Yields the values that are written to memory, in order.

    Args:
        nodes: In order.
    """
    found, kept = _without_aliases(nodes, set())
    readers, inside, _ = _joined(found, kept)
    # What is not written runs where it is read last.
    runs = list(range(len(found)))
    for index, (node, _) in reversed(list(enumerate(found))):
        later = (runs[i] for key in node.writes if key in inside for i in readers[key])
        runs[index] = max(later, default=index)
    writes = (any(key not in inside for key in node.writes) for node, _ in found)
    numbers = list(itertools.accumulate(writes, initial=0))
    for index, (node, _) in enumerate(found):
        for key, count in node.writes.items():
            if key not in inside:
                last = max((runs[reader] for reader in readers.get(key, ())), default=0)
                yield Life(
                    key=key,
                    size=count,
                    position=node.position,
                    first=numbers[index],
                    last=max(numbers[last], numbers[index]),
                )


def _joined(
    found: Sequence[_Reading], kept: set[Key]
) -> tuple[dict[Key, list[int]], set[Key], _Groups]:
    """Finds out what is joined.

    Returns:
        Who reads every value, the values that are not written, and the nodes that are
        one operation.
    """
    readers: dict[Key, list[int]] = defaultdict(list)
    for index, (_, reads) in enumerate(found):
        for key in reads:
            readers[key].append(index)
    groups = _Groups(len(found))
    inside: set[Key] = set()
    for index, (node, _) in enumerate(found):
        if node.fused is None or node.fused.fuses is not Fuses.LOOP:
            continue
        for key in node.writes:
            joined = readers.get(key)
            if joined and key not in kept and all(found[i][0].fused for i in joined):
                inside.add(key)
                for reader in joined:
                    groups.join(index, reader)
    return readers, inside, groups


class _Groups:
    """Disjoint sets of node indices."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def root(self, index: int) -> int:
        while self.parents[index] != index:
            self.parents[index] = self.parents[self.parents[index]]
            index = self.parents[index]
        return index

    def join(self, one: int, other: int) -> None:
        self.parents[self.root(one)] = self.root(other)


_Reading = tuple[Node, dict[Key, Amount]]
"""A node, and what it reads where every alias is what it stands for."""


def _without_aliases(
    nodes: Sequence[Node], kept: set[Key]
) -> tuple[list[_Reading], set[Key]]:
    """Takes out the nodes that cost nothing, and reads through them.

    A result that is nobody's operand here is kept, and so is what it is an alias of.
    """
    read: set[Key] = set().union(*[node.reads for node in nodes])
    source: dict[Key, Key] = {}
    found: list[_Reading] = []
    for node in nodes:
        if node.fused is not None and node.fused.fuses is Fuses.ALIAS:
            origin = next(iter(node.reads), None)
            for key in node.writes:
                source[key] = source.get(origin, origin)
                if key not in read:
                    kept.add(key)
        else:
            found.append((node, _reading_through(node.reads, source)))
    return found, {source.get(key, key) for key in kept}


def _reading_through(
    reads: dict[Key, Amount], source: dict[Key, Key]
) -> dict[Key, Amount]:
    """Returns what is read with every alias replaced by what it stands for."""
    if source.keys().isdisjoint(reads):
        return reads
    found: dict[Key, Amount] = {}
    for key, count in reads.items():
        origin = source.get(key, key)
        known = found.get(origin)
        found[origin] = count if known is None else count.at_least(known)
    return found


def _together(group: Sequence[_Reading], inside: set[Key]) -> Tally:
    """Returns one group as one operation, launched for every result it writes."""
    reads: dict[Key, Amount] = {}
    written: list[Amount] = []
    widest: Tally | None = None
    for node, read in group:
        for key, count in read.items():
            if key not in inside:
                known = reads.get(key)
                reads[key] = count if known is None else count.at_least(known)
        written += [count for key, count in node.writes.items() if key not in inside]
        tally = node.alone
        is_reduction = tally.kind is not OperationKind.ELEMENTWISE
        if is_reduction and (
            widest is None or sum(tally.bytes_read) > sum(widest.bytes_read)
        ):
            widest = tally
    return Tally(
        kind=widest.kind if widest else OperationKind.ELEMENTWISE,
        flops=sum_of([node.alone.flops for node, _ in group]),
        transcendentals=sum_of([node.alone.transcendentals for node, _ in group]),
        bytes_read=sum_of(list(reads.values())),
        bytes_written=sum_of(written),
        m=widest.m if widest else ONE,
        n=widest.n if widest else ONE,
        k=widest.k if widest else ONE,
        repeats=max(1, len(written)),
    )


def _peak(
    nodes: Sequence[_Reading],
    inside: set[Key],
    readers: dict[Key, list[int]],
    kept: set[Key],
) -> Amount:
    """Follows what is alive, every value from its node to its last reader."""
    freed: dict[int, list[Amount]] = defaultdict(list)
    alive = peak = NOTHING
    for index, (node, _) in enumerate(nodes):
        for key, count in node.writes.items():
            if key in inside:
                continue
            alive = alive.plus(count)
            if key not in kept and readers.get(key):
                freed[max(readers[key])].append(count)
        peak = peak.at_least(alive)
        for count in freed.pop(index, ()):
            alive = alive.plus(count.times(-1))
    return peak
