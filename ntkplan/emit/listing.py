"""Calls for many sets of parts of a model, as a list by the function that is called."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.calls import Call
from ntkplan.emit.expression import INDENT, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.names import free
from ntkplan.emit.numbering import PartLoops
from ntkplan.emit.remarks import comment_lines, kind_remark
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.program import Program

# From so many sets of parts on, a list is shorter than a loop for each.
_LEAST_SETS = 4
# A name for parts would hardly be shorter.
_SHORT = 12
_ADD = (
    "def add(chosen, products, *keys, **settings):",
    f'{INDENT}"""Adds what a layer of each of these parts of the model adds."""',
    f"{INDENT}nonlocal theta",
    f"{INDENT}for part in chosen:",
    f"{INDENT * 2}sides = [[table.get(part) for table in side] "
    "for side in (side1, side2)]",
    f"{INDENT * 2}theta += products(*sides, *keys, **settings)",
)


_InPart = tuple[str, LayerPlan]
"""What was chosen for a leaf, after the key of the part of the model that it is in."""


def is_listed(calls: Sequence[Call]) -> bool:
    """Says whether calls are for so many sets of parts that they are a list."""
    return len({call.parts for call in calls if call.parts}) >= _LEAST_SETS


def listed_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints calls of functions; those of one function stand under one remark.

    Args:
        program: What they are of.
        calls: The calls, in their order.
    """
    paths = program.paths_as_swept
    sets = [call.parts for call in calls if call.parts]
    loops = PartLoops(paths, sets)
    texts, definitions = _texts(loops, calls)
    lines = ["", *_ADD, "", *loops.definition, *definitions, "theta = 0.0"]
    functions = {call.function.name: call.function for call in calls if call.function}
    for name, function in functions.items():
        own = [call for call in calls if call.function and call.function.name == name]
        lines += ["", *comment_lines(kind_remark(*_records(own), paths), WIDTH)]
        for call in own:
            for row in call.rows:
                if call.parts:
                    value = function.handed_over("add", texts[call.parts], row[0])
                    lines += statement("", value, WIDTH)
                else:
                    value = function.call(("side1", "side2"), row[0])
                    lines += statement("theta += ", value, WIDTH)
    return lines


def _records(calls: Sequence[Call]) -> tuple[list[_InPart], list[_InPart]]:
    """Returns what was chosen for leaves, and for biases computed with them."""
    blocks = [
        (cluster.part, block)
        for call in calls
        for row in call.rows
        for cluster in row
        for block in cluster.blocks
    ]
    return (
        [(part, block.record) for part, block in blocks if block.record is not None],
        [(part, block.bias) for part, block in blocks if block.bias is not None],
    )


def _texts(
    loops: PartLoops, calls: Sequence[Call]
) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Returns Python text for sets of parts, and definitions of the names in it.

    A set has a name where a call would else not fit on a line.
    """
    texts: dict[tuple[str, ...], str] = {}
    definitions: list[str] = []
    for call in calls:
        if not call.parts or call.function is None:
            continue
        text = texts.get(call.parts) or loops.listed(call.parts)
        added = (call.function.handed_over("add", text, row[0]) for row in call.rows)
        if any(len(value.text) > WIDTH for value in added) and len(text) > _SHORT:
            text = free("parts", ["parts", *texts.values()])
            definitions += loops.defined(text, call.parts)
        texts[call.parts] = text
    return texts, definitions
