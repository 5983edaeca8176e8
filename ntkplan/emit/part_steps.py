"""What steps of a model look like without the names in them, and who reads what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence

from ntkplan._jax import Var
from ntkplan.emit import user_calls
from ntkplan.emit.primitives.context import Context, Module, Step
from ntkplan.emit.primitives.value import array_value, aval_of, literal_value
from ntkplan.emit.writer import write_function
from ntkplan.ir.graph import KernelGraph

_INTEGER = re.compile(r"(?<![\w.\"])\d+(?![\w.\"])")

Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
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


class StepReader:
    """Who reads what, and what steps look like without the names in them.

    Attributes:
        texts: What each step prints from operands that are numbered.
        leaves: The model's leaves, by their variables.
    """

    def __init__(
        self, graph: KernelGraph, steps: Sequence[Step], tapped: Collection[Var]
    ) -> None:
        self._steps = steps
        self._calls = user_calls.UserCalls(graph.body)
        self.leaves = {leaf.variable: leaf for leaf in graph.leaves}
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
        self.texts = [self._text(step) for step in steps]

    def size(self, member: Member) -> int:
        """Counts a member's steps, and the lines of functions inside of them."""
        # The last entry of a step's text is no line: it says what is tapped.
        texts = self.texts[member.start : member.stop]
        return sum(len(text) - 1 for text in texts)

    def reads(self, variable: Var) -> list[int]:
        """Returns the steps that read a variable on the way to the output."""
        # What follows the output are slopes, which may read leaves anywhere.
        return [n for n in self._readers.get(variable, []) if n <= self._last]

    def calls(self, member: Member) -> user_calls.Stack:
        """Returns the user's calls around a member, as many as are around all of it.

        What it took in beside what reads its leaves may be none of them.
        """
        for start, stop in ((member.start, member.stop), member.core):
            steps = self._steps[start:stop]
            found = self._calls.around([v for step in steps for v in step.outputs])
            if len(found) > 1:
                return found
        return ()

    def variables(self, member: Member) -> frozenset[Var]:
        """Returns what is a member's own: its leaves, taps and values."""
        inside = range(member.start, member.stop)
        own = {v for index in inside for v in self._steps[index].outputs}
        for index in inside:
            for item in self._steps[index].inputs:
                if isinstance(item, Var) and self._is_local(member, item):
                    own.add(item)
        return frozenset(own)

    def given(self, member: Member) -> tuple[Var, ...]:
        """Returns the values from outside that a member reads, in order."""
        found: dict[Var, None] = {}
        for index in range(member.start, member.stop):
            for item in self._steps[index].inputs:
                if isinstance(item, Var) and item not in self._constants:
                    defined = self._definition.get(item, (-1, 0))[0]
                    if defined < member.start and not self._is_local(member, item):
                        found[item] = None
        return tuple(found)

    def returned(self, member: Member) -> tuple[Var, ...]:
        """Returns the values of a member that are read outside of it."""
        inside = range(member.start, member.stop)
        return tuple(
            variable
            for index in inside
            for variable in self._steps[index].outputs
            if variable in self._returned
            or any(i not in inside for i in self._readers.get(variable, ()))
        )

    def _is_local(self, member: Member, variable: Var) -> bool:
        if variable in self._local_inputs:
            return all(
                member.start <= index < member.stop for index in self._readers[variable]
            )
        return self._leaf_of(member, variable) is not None

    def _leaf_of(self, member: Member, variable: Var) -> str | None:
        """Returns the place of a leaf in a member, or None for everything else."""
        leaf = self.leaves.get(variable)
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

    def key(self, member: Member) -> Key:
        """Returns what members must share to be the same code."""
        outside: dict[Var, int] = {}
        key: list[object] = []
        for index in range(member.start, member.stop):
            operands = tuple(
                self._operand(member, item, outside)
                for item in self._steps[index].inputs
                if isinstance(item, Var)
            )
            key.append((self.texts[index], operands))
        return tuple(key)

    def _operand(self, member: Member, variable: Var, outside: dict[Var, int]) -> Key:
        place = self._leaf_of(member, variable)
        if place is not None:
            return ("leaf", place)
        if variable in self._constants:
            return ("constant", variable)
        index, position = self._definition.get(variable, (-1, 0))
        if index >= member.start:
            return ("inside", index - member.start, position)
        return ("outside", outside.setdefault(variable, len(outside)))

    def crossings(self, member: Member) -> int:
        """Counts arrays that pass into a member or out of it."""
        return len(self.given(member)) + len(self.returned(member))
