"""Which parts of a model are alike, so that one function can be printed for them.

The tree of `params` proposes them: `blocks/0` to `blocks/11` differ in one number. A
part is the run of steps in which its leaves are read, with what stands around it in
every one of the like parts, as far as that leaves fewer arrays to hand over.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Sequence

from ntkplan._jax import Var
from ntkplan.emit import user_calls
from ntkplan.emit.names import RESERVED, free, function_name
from ntkplan.emit.node_names import node_names
from ntkplan.emit.part_steps import Key, Member, StepReader
from ntkplan.emit.primitives.context import Step
from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.ir.program import Part

_ACCESS = re.compile(r"\[[^\]]*\]|\.\w+")
_LEAST_STEPS = 3
# Steps that functions must spare, a call being as long as two of them.
_LEAST_SPARED = 8
_CALL_STEPS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Family:
    """Members whose steps are the same.

    Attributes:
        members: The members.
        widened: How many steps before and after those that read leaves are theirs.
        size: Steps of each, with the lines of functions inside of them.
    """

    members: tuple[Member, ...]
    widened: tuple[int, int]
    size: int

    @property
    def spared(self) -> int:
        """How many steps need not be printed."""
        count = len(self.members)
        return (count - 1) * self.size - count * _CALL_STEPS


def find_parts(
    graph: KernelGraph, steps: Sequence[Step], tapped: Collection[Var]
) -> tuple[Part, ...]:
    """Returns the parts of a model that are alike, in the order in which they run.

    Args:
        graph: The model.
        steps: Its equations, as they are printed.
        tapped: Variables to which something is added.
    """
    reader = StepReader(graph, steps, tapped)
    search = _Search(reader)
    families: list[_Family] = []
    while True:
        taken = [member for family in families for member in family.members]
        found = [
            family
            for members in search.proposals(taken)
            for family in search.families(members, taken)
            if family.spared >= _LEAST_SPARED
        ]
        if not found:
            break
        families.append(max(found, key=lambda family: family.spared))
    return _named(reader, [*families, *search.others(families)])


def _named(reader: StepReader, families: Sequence[_Family]) -> tuple[Part, ...]:
    """Gives parts their keys, in the order in which they run."""
    names: list[str] = []
    parts: list[tuple[int, Part]] = []
    known = node_names([leaf.path for leaf in reader.leaves.values()])
    for family in families:
        paths = tuple(member.path for member in family.members)
        calls = [reader.calls(member) for member in family.members]
        called = {user_calls.called(own[-1]) if own[1:] else None for own in calls}
        name = called.pop() if len(called) == 1 else None
        for member, own in zip(family.members, calls, strict=True):
            key = free(known[member.path], {*names, *RESERVED})
            names.append(key)
            part = Part(
                key=key,
                path=member.path,
                access=member.access,
                function=name or function_name(member.path),
                calls=own,
                alike=paths,
                variables=reader.variables(member),
                given=reader.given(member),
                returned=reader.returned(member),
            )
            parts.append((member.start, part))
    return tuple(part for _, part in sorted(parts, key=lambda item: item[0]))


class _Search:
    """Finds members, and families of them."""

    def __init__(self, reader: StepReader) -> None:
        self._reader = reader

    def proposals(self, taken: Sequence[Member]) -> list[list[Member]]:
        """Returns subtrees of `params` that differ in a number, each with its steps."""
        reads: dict[tuple[str, str], list[int]] = {}
        for leaf in self._reader.leaves.values():
            at = self._reader.reads(leaf.variable)
            for path, access in _prefixes(leaf):
                reads.setdefault((path, access), []).extend(at)
        groups: dict[str, list[Member]] = {}
        for (path, access), at in reads.items():
            if at and re.search(r"\d", path.rpartition("/")[2]):
                start, stop = min(at), max(at) + 1
                member = Member(
                    path=path, access=access, start=start, stop=stop, core=(start, stop)
                )
                if not any(_overlap(member, other) for other in taken):
                    groups.setdefault(_template(path), []).append(member)
        result = []
        for members in groups.values():
            ordered = sorted(members, key=lambda member: member.start)
            pairs = itertools.pairwise(ordered)
            if not any(_overlap(*pair) for pair in pairs):
                result.append(ordered)
        return result

    def families(
        self, members: Sequence[Member], taken: Sequence[Member]
    ) -> list[_Family]:
        """Sorts members by what their steps are, and widens them alike.

        Args:
            members: Subtrees with their steps.
            taken: Others, whose steps are not to be had.
        """
        by_key: dict[Key, list[Member]] = {}
        for member in members:
            by_key.setdefault(self._reader.key(member), []).append(member)
        return [
            self._widened(family, [*members, *taken])
            for family in by_key.values()
            if len(family) > 1 and self._reader.size(family[0]) >= _LEAST_STEPS
        ]

    def others(self, families: Sequence[_Family]) -> list[_Family]:
        """Returns the siblings of members, each of which is like no other."""
        taken = [member for family in families for member in family.members]
        most: dict[str, tuple[int, int]] = {}
        for family in families:
            name = _template(family.members[0].path)
            low, high = most.get(name, (0, 0))
            most[name] = (max(low, family.widened[0]), max(high, family.widened[1]))
        found: list[_Family] = []
        for members in self.proposals(taken):
            name = _template(members[0].path)
            for number, member in enumerate(members):
                if name in most and self._reader.size(member) >= _LEAST_STEPS:
                    others = [*taken, *members[number + 1 :]]
                    others += [other for family in found for other in family.members]
                    found.append(self._widened([member], [member, *others], most[name]))
        return found

    def _widened(
        self,
        family: Sequence[Member],
        members: Sequence[Member],
        most: tuple[int, int] | None = None,
    ) -> _Family:
        """Takes in steps before and after, the same for all, where that pays.

        It pays where fewer arrays pass between the part and what stands around it, or
        as many and more is within.

        Args:
            family: Members whose steps are the same.
            members: These and all others, whose steps are not to be had.
            most: How many steps may be taken in on either side, or None for any.
        """
        before, after = self._room(family, members)
        if most is not None:
            before, after = min(before, most[0]), min(after, most[1])
        choices = [
            self._family(
                tuple(
                    dataclasses.replace(
                        member, start=member.start - low, stop=member.stop + high
                    )
                    for member in family
                ),
                (low, high),
            )
            for low in range(self._alike(family, -1, before) + 1)
            for high in range(self._alike(family, 1, after) + 1)
        ]
        choices.sort(
            key=lambda choice: (
                self._reader.crossings(choice.members[0]),
                -sum(choice.widened),
            )
        )
        separate = [member for member in members if member not in family]
        for choice in choices:
            chosen = choice.members
            ordered = sorted((*chosen, *separate), key=lambda member: member.start)
            apart = not any(_overlap(*pair) for pair in itertools.pairwise(ordered))
            if apart and len({self._reader.key(member) for member in chosen}) == 1:
                return choice
        return self._family(tuple(family), (0, 0))

    def _family(self, members: tuple[Member, ...], widened: tuple[int, int]) -> _Family:
        size = self._reader.size(members[0])
        return _Family(members=members, widened=widened, size=size)

    def _room(
        self, family: Sequence[Member], members: Sequence[Member]
    ) -> tuple[int, int]:
        """Returns how many steps all members have before and after them to take in."""
        before, after = [], []
        for member in family:
            stops = [m.stop for m in members if m.stop <= member.start]
            starts = [m.start for m in members if m.start >= member.stop]
            before.append(member.start - max(stops, default=0))
            after.append(min(starts, default=len(self._reader.texts)) - member.stop)
        return min(before), min(after)

    def _alike(self, family: Sequence[Member], direction: int, room: int) -> int:
        """Returns for how many steps onwards all members print the same."""
        for distance in range(room):
            at = [
                member.stop + distance if direction > 0 else member.start - 1 - distance
                for member in family
            ]
            if len({self._reader.texts[index] for index in at}) > 1:
                return distance
        return room


def _prefixes(leaf: Leaf) -> list[tuple[str, str]]:
    """Returns the subtrees that a leaf lies in: their paths and how they are read."""
    if leaf.access is None:
        return []
    words = leaf.path.split("/")
    accesses = _ACCESS.findall(leaf.access)
    if len(words) != len(accesses) or "".join(accesses) != leaf.access:
        return []
    return [
        ("/".join(words[:depth]), "".join(accesses[:depth]))
        for depth in range(1, len(words))
    ]


def _template(path: str) -> str:
    """Returns what paths that differ in numbers have in common."""
    return re.sub(r"\d+", "#", path)


def _overlap(one: Member, other: Member) -> bool:
    return one.start < other.stop and other.start < one.stop
