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
from ntkplan.emit.names import RESERVED, free, function_name, layer_name
from ntkplan.emit.primitives.context import Context, Module, Step
from ntkplan.emit.primitives.value import array_value, aval_of, literal_value
from ntkplan.emit.writer import write_function
from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.ir.program import Part

_ACCESS = re.compile(r"\[[^\]]*\]|\.\w+")
_INTEGER = re.compile(r"(?<![\w.\"])\d+(?![\w.\"])")
_LEAST_STEPS = 3
# Steps that functions must spare, a call being as long as two of them.
_LEAST_SPARED = 8
_CALL_STEPS = 2

Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Member:
    """A subtree of `params`, and the steps that belong to it.

    Attributes:
        path: The subtree.
        access: Python text that reads it from `params`.
        start: Its first step.
        stop: The step after its last.
        core: First and last likewise, of the steps that read its leaves and of those
            between them.
    """

    path: str
    access: str
    start: int
    stop: int
    core: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Family:
    """Members whose steps are the same.

    Attributes:
        members: The members.
        widened: How many steps before and after those that read leaves are theirs.
    """

    members: tuple[_Member, ...]
    widened: tuple[int, int]

    @property
    def spared(self) -> int:
        """How many steps need not be printed."""
        first = self.members[0]
        count = len(self.members)
        return (count - 1) * (first.stop - first.start) - count * _CALL_STEPS


def find_parts(
    graph: KernelGraph, steps: Sequence[Step], tapped: Collection[Var]
) -> tuple[Part, ...]:
    """Returns the parts of a model that are alike, in the order in which they run.

    Args:
        graph: The model.
        steps: Its equations, as they are printed.
        tapped: Variables to which something is added.
    """
    reader = _Reader(graph, steps, tapped)
    families: list[_Family] = []
    while True:
        taken = [member for family in families for member in family.members]
        found = [
            family
            for members in reader.proposals(taken)
            for family in reader.families(members, taken)
            if family.spared >= _LEAST_SPARED
        ]
        if not found:
            break
        families.append(max(found, key=lambda family: family.spared))
    return _named(reader, [*families, *reader.others(families)])


def _named(reader: _Reader, families: Sequence[_Family]) -> tuple[Part, ...]:
    """Gives parts their keys, in the order in which they run."""
    names: list[str] = []
    parts: list[tuple[int, Part]] = []
    for family in families:
        paths = tuple(member.path for member in family.members)
        calls = [reader.calls(member) for member in family.members]
        called = {user_calls.called(own[-1]) if own[1:] else None for own in calls}
        name = called.pop() if len(called) == 1 else None
        for member, own in zip(family.members, calls, strict=True):
            key = free(layer_name(f"{member.path}/leaf"), {*names, *RESERVED})
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


class _Reader:
    """Who reads what, and what steps look like without the names in them."""

    def __init__(
        self, graph: KernelGraph, steps: Sequence[Step], tapped: Collection[Var]
    ) -> None:
        self._steps = steps
        self._calls = user_calls.UserCalls(graph.body)
        self._leaves = {leaf.variable: leaf for leaf in graph.leaves}
        self._local_inputs = frozenset(graph.taps)
        self._constants = frozenset(variable for variable, _ in graph.body.constants)
        self._returned = frozenset(
            item for item in graph.body.outputs if isinstance(item, Var)
        )
        self._tapped = frozenset(tapped)
        self._definition: dict[Var, tuple[int, int]] = {}
        self._readers: dict[Var, list[int]] = {}
        for index, step in enumerate(steps):
            for position, variable in enumerate(step.outputs):
                self._definition[variable] = (index, position)
            for item in step.inputs:
                if isinstance(item, Var):
                    self._readers.setdefault(item, []).append(index)
        self._last = max(
            (self._definition[v][0] for v in self._returned if v in self._definition),
            default=len(steps),
        )
        self._texts = [self._text(step) for step in steps]

    def proposals(self, taken: Sequence[_Member]) -> list[list[_Member]]:
        """Returns subtrees of `params` that differ in a number, each with its steps."""
        reads: dict[tuple[str, str], list[int]] = {}
        for leaf in self._leaves.values():
            # What follows the output are slopes, which may read leaves anywhere.
            at = [n for n in self._readers.get(leaf.variable, []) if n <= self._last]
            for path, access in _prefixes(leaf):
                reads.setdefault((path, access), []).extend(at)
        groups: dict[str, list[_Member]] = {}
        for (path, access), at in reads.items():
            if at and re.search(r"\d", path.rpartition("/")[2]):
                start, stop = min(at), max(at) + 1
                member = _Member(
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
        self, members: Sequence[_Member], taken: Sequence[_Member]
    ) -> list[_Family]:
        """Sorts members by what their steps are, and widens them alike.

        Args:
            members: Subtrees with their steps.
            taken: Others, whose steps are not to be had.
        """
        by_key: dict[Key, list[_Member]] = {}
        for member in members:
            by_key.setdefault(self._key(member), []).append(member)
        return [
            self._widened(family, [*members, *taken])
            for family in by_key.values()
            if len(family) > 1 and family[0].stop - family[0].start >= _LEAST_STEPS
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
                if name in most and member.stop - member.start >= _LEAST_STEPS:
                    others = [*taken, *members[number + 1 :]]
                    others += [other for family in found for other in family.members]
                    found.append(self._widened([member], [member, *others], most[name]))
        return found

    def calls(self, member: _Member) -> user_calls.Stack:
        """Returns the user's calls around a member, as many as are around all of it.

        What it took in beside what reads its leaves may be none of them.
        """
        for start, stop in ((member.start, member.stop), member.core):
            steps = self._steps[start:stop]
            found = self._calls.around([v for step in steps for v in step.outputs])
            if len(found) > 1:
                return found
        return ()

    def variables(self, member: _Member) -> frozenset[Var]:
        """Returns what is a member's own: its leaves, taps and values."""
        inside = range(member.start, member.stop)
        own = {v for index in inside for v in self._steps[index].outputs}
        for index in inside:
            for item in self._steps[index].inputs:
                if isinstance(item, Var) and self._is_local(member, item):
                    own.add(item)
        return frozenset(own)

    def given(self, member: _Member) -> tuple[Var, ...]:
        """Returns the values from outside that a member reads, in order."""
        found: dict[Var, None] = {}
        for index in range(member.start, member.stop):
            for item in self._steps[index].inputs:
                if isinstance(item, Var) and item not in self._constants:
                    defined = self._definition.get(item, (-1, 0))[0]
                    if defined < member.start and not self._is_local(member, item):
                        found[item] = None
        return tuple(found)

    def returned(self, member: _Member) -> tuple[Var, ...]:
        """Returns the values of a member that are read outside of it."""
        inside = range(member.start, member.stop)
        return tuple(
            variable
            for index in inside
            for variable in self._steps[index].outputs
            if variable in self._returned
            or any(i not in inside for i in self._readers.get(variable, ()))
        )

    def _is_local(self, member: _Member, variable: Var) -> bool:
        if variable in self._local_inputs:
            return all(
                member.start <= index < member.stop for index in self._readers[variable]
            )
        return self._leaf_of(member, variable) is not None

    def _leaf_of(self, member: _Member, variable: Var) -> str | None:
        """Returns the place of a leaf in a member, or None for everything else."""
        leaf = self._leaves.get(variable)
        if leaf is None or not leaf.path.startswith(f"{member.path}/"):
            return None
        return leaf.path[len(member.path) :]

    def _text(self, step: Step) -> Key:
        """Returns what a step prints from operands that are numbered.

        Integers may differ in parts that are alike: they are arguments.
        """
        context = Context(
            module=Module(()),
            local=set(),
            width=88,
            deciding=False,
            write_function=write_function,
        )
        operands = [
            array_value(f"operand{number}", aval_of(item))
            if isinstance(item, Var)
            else literal_value(item)
            for number, item in enumerate(step.inputs)
        ]
        written = step.write(operands, context).expression.text
        taps = tuple(variable in self._tapped for variable in step.outputs)
        texts = (written, *context.before)
        return (*(_INTEGER.sub("#", text) for text in texts), taps)

    def _key(self, member: _Member) -> Key:
        """Returns what members must share to be the same code."""
        outside: dict[Var, int] = {}
        key: list[object] = []
        for index in range(member.start, member.stop):
            operands = tuple(
                self._operand(member, item, outside)
                for item in self._steps[index].inputs
                if isinstance(item, Var)
            )
            key.append((self._texts[index], operands))
        return tuple(key)

    def _operand(self, member: _Member, variable: Var, outside: dict[Var, int]) -> Key:
        place = self._leaf_of(member, variable)
        if place is not None:
            return ("leaf", place)
        if variable in self._constants:
            return ("constant", variable)
        index, position = self._definition.get(variable, (-1, 0))
        if index >= member.start:
            return ("inside", index - member.start, position)
        return ("outside", outside.setdefault(variable, len(outside)))

    def _widened(
        self,
        family: Sequence[_Member],
        members: Sequence[_Member],
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
            _Family(
                members=tuple(
                    dataclasses.replace(
                        member, start=member.start - low, stop=member.stop + high
                    )
                    for member in family
                ),
                widened=(low, high),
            )
            for low in range(self._alike(family, -1, before) + 1)
            for high in range(self._alike(family, 1, after) + 1)
        ]
        choices.sort(
            key=lambda choice: (
                self._crossings(choice.members[0]),
                -sum(choice.widened),
            )
        )
        separate = [member for member in members if member not in family]
        for choice in choices:
            chosen = choice.members
            ordered = sorted((*chosen, *separate), key=lambda member: member.start)
            apart = not any(_overlap(*pair) for pair in itertools.pairwise(ordered))
            if apart and len({self._key(member) for member in chosen}) == 1:
                return choice
        return _Family(members=tuple(family), widened=(0, 0))

    def _room(
        self, family: Sequence[_Member], members: Sequence[_Member]
    ) -> tuple[int, int]:
        """Returns how many steps all members have before and after them to take in."""
        before, after = [], []
        for member in family:
            stops = [m.stop for m in members if m.stop <= member.start]
            starts = [m.start for m in members if m.start >= member.stop]
            before.append(member.start - max(stops, default=0))
            after.append(min(starts, default=len(self._steps)) - member.stop)
        return min(before), min(after)

    def _alike(self, family: Sequence[_Member], direction: int, room: int) -> int:
        """Returns for how many steps onwards all members print the same."""
        for distance in range(room):
            at = [
                member.stop + distance if direction > 0 else member.start - 1 - distance
                for member in family
            ]
            if len({self._texts[index] for index in at}) > 1:
                return distance
        return room

    def _crossings(self, member: _Member) -> int:
        """Counts arrays that pass into a member or out of it."""
        return len(self.given(member)) + len(self.returned(member))


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


def _overlap(one: _Member, other: _Member) -> bool:
    return one.start < other.stop and other.start < one.stop
