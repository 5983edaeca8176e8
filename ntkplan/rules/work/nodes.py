"""The nodes of single equations: what each reads, writes and does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ntkplan.rules.work.amount import Amount, Level, Tally, amount
from ntkplan.rules.work.flat import Flat, FlatEquation, is_product
from ntkplan.rules.work.fusion import Key, Node
from ntkplan.rules.work.step import TANGENT, Fuses, Pass, Step

Levels = dict[int | None, Level]
"""The level of every value, by its number; None stands for literals."""


def operand_levels(
    equation: FlatEquation, levels: Levels, floor: Level
) -> dict[int, Level]:
    """Returns the levels of the operands, by index, and of a tangent."""
    found = {
        index: levels.get(number, Level.SHARED)
        for index, number in enumerate(equation.inputs)
    }
    if is_product(equation.call.primitive):
        made = levels[equation.outputs[0]]
        if max(found.values()) < made:
            found[0] = made
    else:
        found = {
            index: max(level, floor) if equation.inputs[index] is not None else level
            for index, level in found.items()
        }
    found[TANGENT] = Level.COLUMN
    return found


def one_pass(steps: Sequence[Step]) -> Pass | None:
    """Returns the one pass of the steps, where it can be joined with others."""
    if len(steps) == 1 and isinstance(steps[0], Pass):
        step = steps[0]
        return None if step.fuses is Fuses.NO else step
    return None


def node_of(
    equation: FlatEquation, levels: Levels, *, tallies: Sequence[Tally], flat: Flat
) -> Node:
    """Returns the node of an equation that reads its operands whole."""
    return Node(
        tallies=tuple(tallies),
        reads={
            number: amount(flat.arrays[number].nbytes, levels[number])
            for number in equation.inputs
            if number is not None
        },
        writes={
            number: amount(flat.arrays[number].nbytes, levels[number])
            for number in equation.outputs
        },
    )


def forward_node(
    equation: FlatEquation,
    steps: Sequence[Step],
    operands: dict[int, Level],
    levels: Levels,
    flat: Flat,
) -> Node:
    """Returns the node of one evaluation of an equation, of which its steps are known.

    Args:
        equation: The equation.
        steps: What its rule says that it does.
        operands: The levels of its operands.
        levels: Those of all values.
        flat: All equations.
    """
    fused = one_pass(steps)
    tallies = () if fused else tuple(step.tally(operands) for step in steps)
    node = node_of(equation, levels, tallies=tallies, flat=flat)
    if fused is not None:
        level = max((operands[index] for index, _ in fused.reads), default=Level.SHARED)
        node.fused = fused
        node.levels = operands
        node.reads = {
            number: amount(nbytes, operands[index])
            for index, nbytes in fused.reads
            if (number := equation.inputs[index]) is not None
        }
        node.writes = {
            number: amount(flat.arrays[number].nbytes, level)
            for number in equation.outputs
        }
    return node


def cotangent(number: int) -> Key:
    """Names the cotangent of a value."""
    return ("cotangent", number)


def number_of(equation: FlatEquation, index: int) -> int:
    """Returns the number of the value that an operand is."""
    number = equation.inputs[index]
    assert number is not None, "a literal has no tangent"
    return number


def accumulation(flat: Flat, number: int, parts: Sequence[Key]) -> Node:
    """Returns the node that adds the parts of a cotangent."""
    array = flat.arrays[number]
    count = amount(array.nbytes, Level.COLUMN)
    return Node(
        fused=Pass(
            reads=((TANGENT, array.nbytes * len(parts)),),
            written_bytes=array.nbytes,
            flops=(len(parts) - 1) * array.elements,
        ),
        levels={TANGENT: Level.COLUMN},
        reads=dict.fromkeys(parts, count),
        writes={cotangent(number): count},
    )


def column_bytes(flat: Flat, names: Iterable[tuple[int, Key]]) -> dict[Key, Amount]:
    """Returns what one column of some values has, by the names it goes by.

    Args:
        flat: The equations.
        names: Numbers of values, each with a name for its tangent or cotangent.
    """
    return {
        key: amount(flat.arrays[number].nbytes, Level.COLUMN) for number, key in names
    }


def derivative_node(
    equation: FlatEquation,
    steps: Sequence[Step],
    operands: dict[int, Level],
    *,
    sources: Sequence[Key],
    result: tuple[Key, int],
) -> Node:
    """Returns the node of one tangent or cotangent through one equation.

    Args:
        equation: The equation.
        steps: What its rule says that the derivative does.
        operands: The levels of its operands.
        sources: Names of the tangents or cotangents that are read.
        result: The name of what is made, and its bytes.
    """
    fused = one_pass(steps)
    reads: dict[Key, Amount] = {}
    for step in steps:
        for index, nbytes in _reads_of(step):
            if index == TANGENT:
                share = nbytes // max(1, len(sources))
                reads.update(dict.fromkeys(sources, amount(share, Level.COLUMN)))
            elif equation.inputs[index] is not None:
                reads[equation.inputs[index]] = amount(nbytes, operands[index])
    return Node(
        tallies=() if fused else tuple(step.tally(operands) for step in steps),
        fused=fused,
        levels=operands,
        reads=reads,
        writes={result[0]: amount(result[1], Level.COLUMN)},
    )


def _reads_of(step: Step) -> tuple[tuple[int, int], ...]:
    if isinstance(step, Pass):
        return step.reads
    return ((step.left, step.left_bytes), (step.right, step.right_bytes))
