"""From written-out equations to what runs: forward, backward, and along tangents."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from ntkplan.rules.work import loops
from ntkplan.rules.work.amount import NOTHING, Level, Tally, amount
from ntkplan.rules.work.flat import Flat, FlatEquation
from ntkplan.rules.work.fusion import Fused, Key, Node, fuse
from ntkplan.rules.work.nodes import (
    Levels,
    accumulation,
    column_bytes,
    cotangent,
    derivative_node,
    forward_node,
    node_of,
    number_of,
    one_pass,
    operand_levels,
)
from ntkplan.rules.work.step import TANGENT, Fuses, Pass, WorkRule
from ntkplan.rules.work.table import rule_of


def forward(flat: Flat, levels: Levels, *, floor: Level = Level.SHARED) -> Fused:
    """Returns what the equations do.

    Args:
        flat: The equations.
        levels: The level of every value.
        floor: A level that every pass over memory has at least.
    """
    nodes: list[Node] = []
    for equation in flat.equations:
        operands = operand_levels(equation, levels, floor)
        nested = loops.LOOPS.get(equation.call.primitive)
        if nested is not None:
            tallies = nested.forward(equation.call, operands, _ENGINE)
            nodes.append(node_of(equation, levels, tallies=tallies, flat=flat))
            continue
        steps = rule_of(equation.call.primitive).forward(equation.call)
        nodes.append(forward_node(equation, steps, operands, levels, flat))
    return fuse(nodes, kept=flat.results)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Derivatives:
    """Derivative passes over some equations, of any of their values.

    What a single equation does is found out once for all passes.

    Attributes:
        flat: The equations; its own `active` counts for nothing here.
        levels: The level of every value.
        known: The nodes that were made before.
    """

    flat: Flat
    levels: Levels
    known: dict[object, list[Node]] = dataclasses.field(default_factory=dict)

    def sweep(self, active: Collection[int]) -> list[Node]:
        """Returns the nodes of one pull-back of all cotangents to the active values.

        Values that nothing here reads have a cotangent from elsewhere.
        """
        flat = self.flat
        nodes: list[Node] = []
        parts: dict[int, list[Key]] = defaultdict(list)
        for position, equation in reversed(list(enumerate(flat.equations))):
            n_before, wanted = len(nodes), _wanted(equation, active)
            if not wanted:
                continue
            results = tuple(
                number
                for number in equation.outputs
                if number in parts
                or number in flat.results
                or (number not in flat.read and flat.arrays[number].inexact)
            )
            if not results:
                continue
            for number in results:
                nodes += self._accumulated(number, parts[number])
            nodes += self._pulled(position, wanted, results, parts)
            for node in nodes[n_before:]:
                node.position = position
            for index in wanted:
                parts[number_of(equation, index)].append(("part", position, index))
        for number in flat.free:
            nodes += self._accumulated(number, parts.get(number, []))
        return nodes

    def push(self, active: Collection[int]) -> list[Node]:
        """Returns the nodes of pushing a tangent of the active values through."""
        nodes: list[Node] = []
        for position, equation in enumerate(self.flat.equations):
            wanted = _wanted(equation, active)
            if wanted:
                key = ("push", position, wanted)
                if key not in self.known:
                    self.known[key] = _push_nodes(
                        self.flat, equation, wanted, self.levels
                    )
                nodes += self.known[key]
        return nodes

    def _accumulated(self, number: int, parts: Sequence[Key]) -> list[Node]:
        """Returns the node that adds the parts of a cotangent, if there are several."""
        if len(parts) < 2:
            return []
        key = ("accumulate", number, *parts)
        if key not in self.known:
            self.known[key] = [accumulation(self.flat, number, parts)]
        return self.known[key]

    def _pulled(
        self,
        position: int,
        wanted: tuple[int, ...],
        results: tuple[int, ...],
        parts: Mapping[int, Sequence[Key]],
    ) -> list[Node]:
        # What a cotangent is called, where it has but one part: as that part.
        sources = tuple(
            [
                parts[number][0] if len(parts[number]) == 1 else cotangent(number)
                for number in results
            ]
        )
        key = ("pull", position, wanted, results, sources)
        if key not in self.known:
            self.known[key] = _pull_nodes(
                self.flat, position, wanted, results, sources, self.levels
            )
        return self.known[key]


def _wanted(equation: FlatEquation, active: Collection[int]) -> tuple[int, ...]:
    """Returns the operands that are active; a literal is not."""
    return tuple(
        [index for index, number in enumerate(equation.inputs) if number in active]
    )


def sweep(flat: Flat, levels: Levels) -> Fused:
    """Returns what one pull-back of all cotangents does, to the active values."""
    return fuse(Derivatives(flat=flat, levels=levels).sweep(flat.active))


def push(flat: Flat, levels: Levels) -> Fused:
    """Returns what pushing a tangent of the active values through does."""
    return fuse(Derivatives(flat=flat, levels=levels).push(flat.active))


class Engine:
    """What the rules of control flow ask for the bodies they hold."""

    def forward(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of one evaluation."""
        return forward(flat, levels).tallies

    def sweep(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of one pull-back."""
        return sweep(flat, levels).tallies

    def push(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of pushing a tangent."""
        return push(flat, levels).tallies


_ENGINE = Engine()


def is_entrywise(equation: FlatEquation) -> bool:
    """Says whether an equation makes one array, each entry of one of its operands'."""
    primitive = equation.call.primitive
    if primitive in loops.LOOPS or len(equation.outputs) != 1:
        return False
    fused = one_pass(rule_of(primitive).forward(equation.call))
    return fused is not None and fused.fuses in (Fuses.LOOP, Fuses.ALIAS)


def _pull_nodes(
    flat: Flat,
    position: int,
    wanted: Sequence[int],
    results: Sequence[int],
    sources: Sequence[Key],
    levels: Levels,
) -> list[Node]:
    equation = flat.equations[position]
    operands = operand_levels(equation, levels, Level.SHARED)
    nested = loops.LOOPS.get(equation.call.primitive)
    names: dict[int, Key] = {index: ("part", position, index) for index in wanted}
    if nested is not None:
        tallies = nested.pull(equation.call, operands, wanted, _ENGINE)
        node = Node(
            tallies=tuple(tallies),
            reads=column_bytes(flat, zip(results, sources, strict=True)),
            writes=column_bytes(
                flat, [(number_of(equation, index), names[index]) for index in wanted]
            ),
        )
        return [node]
    rule = rule_of(equation.call.primitive)
    return [
        derivative_node(
            equation,
            rule.pull(equation.call, index),
            operands,
            sources=sources,
            result=(names[index], flat.arrays[number_of(equation, index)].nbytes),
        )
        for index in wanted
    ]


def _push_nodes(
    flat: Flat, equation: FlatEquation, wanted: Sequence[int], levels: Levels
) -> list[Node]:
    operands = operand_levels(equation, levels, Level.SHARED)
    tangents = [number for number in equation.outputs if flat.arrays[number].inexact]
    sources = {index: ("tangent", number_of(equation, index)) for index in wanted}
    nested = loops.LOOPS.get(equation.call.primitive)
    if nested is not None:
        tallies = nested.push(equation.call, operands, wanted, _ENGINE)
        return [
            Node(
                tallies=tuple(tallies),
                reads=column_bytes(
                    flat,
                    [(number_of(equation, index), sources[index]) for index in wanted],
                ),
                writes=column_bytes(
                    flat, [(number, ("tangent", number)) for number in tangents]
                ),
            )
        ]
    rule: WorkRule = rule_of(equation.call.primitive)
    result = tangents[0] if tangents else equation.outputs[0]
    nbytes = sum(flat.arrays[number].nbytes for number in equation.outputs)
    single = len(wanted) == 1
    nodes = [
        derivative_node(
            equation,
            rule.push(equation.call, index),
            operands,
            sources=[sources[index]],
            result=(
                ("tangent", result) if single else ("part", result, index),
                nbytes,
            ),
        )
        for index in wanted
    ]
    if single:
        for number in tangents[1:]:
            nodes[0].writes["tangent", number] = NOTHING
        return nodes
    count = amount(nbytes, Level.COLUMN)
    elements = sum(array.elements for array in equation.call.outputs)
    nodes.append(
        Node(
            fused=Pass(
                reads=((TANGENT, nbytes * len(wanted)),),
                written_bytes=nbytes,
                flops=(len(wanted) - 1) * elements,
            ),
            levels={TANGENT: Level.COLUMN},
            reads={("part", result, index): count for index in wanted},
            writes={("tangent", number): count for number in tangents},
        )
    )
    return nodes
