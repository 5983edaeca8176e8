"""Which passes a compiler joins, and what they read and write together."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.amount import NOTHING, ONE, Amount, Level, Tally
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
    """

    tallies: tuple[Tally, ...] = ()
    fused: Pass | None = None
    levels: dict[int, Level] = dataclasses.field(default_factory=dict)
    reads: dict[Key, Amount] = dataclasses.field(default_factory=dict)
    writes: dict[Key, Amount] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class Fused:
    """What a list of nodes does once it is fused.

    Attributes:
        tallies: In order of their first node.
        peak: Most bytes of results alive at once, as an upper bound.
    """

    tallies: list[Tally]
    peak: Amount


def fuse(nodes: Sequence[Node], kept: Iterable[Key] = ()) -> Fused:
    """Joins what a compiler joins.

    The result of an elementwise pass is written only where something else than an
    elementwise pass or a reduction reads it, or nothing here does. A pass that several
    others read is computed in each; its operations are counted once.

    Args:
        nodes: In order.
        kept: Values that are written even where they need not be.
    """
    nodes, kept = _without_aliases(nodes, set(kept))
    readers: dict[Key, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for key in node.reads:
            readers[key].append(index)
    groups = _Groups(len(nodes))
    inside: set[Key] = set()
    for index, node in enumerate(nodes):
        if node.fused is None or node.fused.fuses is not Fuses.LOOP:
            continue
        for key in node.writes:
            joined = readers.get(key, [])
            if joined and key not in kept and all(nodes[i].fused for i in joined):
                inside.add(key)
                for reader in joined:
                    groups.join(index, reader)
    members: dict[int, list[Node]] = defaultdict(list)
    tallies: list[Tally] = []
    for index, node in enumerate(nodes):
        if node.fused is None:
            tallies.extend(node.tallies)
        else:
            members[groups.root(index)].append(node)
    tallies.extend(_together(group, inside) for group in members.values())
    return Fused(tallies=tallies, peak=_peak(nodes, inside, readers, kept))


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


def _without_aliases(
    nodes: Sequence[Node], kept: set[Key]
) -> tuple[list[Node], set[Key]]:
    """Takes out the nodes that cost nothing, and reads through them.

    A result that is nobody's operand here is kept, and so is what it is an alias of.
    """
    read = {key for node in nodes for key in node.reads}
    source: dict[Key, Key] = {}
    found: list[Node] = []
    for node in nodes:
        if node.fused is not None and node.fused.fuses is Fuses.ALIAS:
            origin = next(iter(node.reads), None)
            for key in node.writes:
                source[key] = source.get(origin, origin)
                if key not in read:
                    kept.add(key)
        else:
            found.append(_reading_through(node, source))
    return found, {source.get(key, key) for key in kept}


def _reading_through(node: Node, source: dict[Key, Key]) -> Node:
    """Returns the node with every alias replaced by what it stands for."""
    if not any(key in source for key in node.reads):
        return node
    reads: dict[Key, Amount] = {}
    for key, count in node.reads.items():
        origin = source.get(key, key)
        reads[origin] = count.at_least(reads.get(origin, NOTHING))
    return dataclasses.replace(node, reads=reads)


def _together(group: Sequence[Node], inside: set[Key]) -> Tally:
    """Returns one group as one operation, launched for every result it writes."""
    flops = transcendentals = written = NOTHING
    reads: dict[Key, Amount] = {}
    launches = 0
    widest: Tally | None = None
    for node in group:
        assert node.fused is not None
        tally = node.fused.tally(node.levels)
        flops = flops.plus(tally.flops)
        transcendentals = transcendentals.plus(tally.transcendentals)
        for key, count in node.reads.items():
            if key not in inside:
                reads[key] = count.at_least(reads.get(key, NOTHING))
        for key, count in node.writes.items():
            if key not in inside:
                written = written.plus(count)
                launches += 1
        is_reduction = tally.kind is not OperationKind.ELEMENTWISE
        if is_reduction and (
            widest is None or sum(tally.bytes_read) > sum(widest.bytes_read)
        ):
            widest = tally
    read = NOTHING
    for count in reads.values():
        read = read.plus(count)
    return Tally(
        kind=widest.kind if widest else OperationKind.ELEMENTWISE,
        flops=flops,
        transcendentals=transcendentals,
        bytes_read=read,
        bytes_written=written,
        m=widest.m if widest else ONE,
        n=widest.n if widest else ONE,
        k=widest.k if widest else ONE,
        repeats=max(1, launches),
    )


def _peak(
    nodes: Sequence[Node],
    inside: set[Key],
    readers: dict[Key, list[int]],
    kept: set[Key],
) -> Amount:
    """Follows what is alive, every value from its node to its last reader."""
    freed: dict[int, list[Amount]] = defaultdict(list)
    alive = peak = NOTHING
    for index, node in enumerate(nodes):
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
