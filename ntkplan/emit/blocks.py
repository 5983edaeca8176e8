"""The leaves' own parts of the kernel, added up in `theta`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.calls import Call
from ntkplan.emit.clusters import cluster_lines, printer_of
from ntkplan.emit.expression import INDENT, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.listing import is_listed, listed_lines
from ntkplan.emit.numbering import PartLoops
from ntkplan.emit.remarks import biases_remark, comment_lines, remark
from ntkplan.emit.tables import SIDE_TABLES
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.program import Block, Program

_OF_PART = (
    "def of(part):",
    f'{INDENT}"""Both sides of a part of the model."""',
    f"{INDENT}return [[table.get(part) for table in side] for side in (side1, side2)]",
)


def block_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints all blocks; those that run over the same parts or steps share a loop.

    Args:
        program: What they are of.
        calls: What computes those that are no loops.
    """
    if is_listed(calls):
        others = [call for call in calls if call.function is None]
        lines = listed_lines(program, [call for call in calls if call.function])
        lines += _called(program, others, first=False)
        first = False
    else:
        lines = _called(program, calls, first=True)
        first = not calls
    for steps in dict.fromkeys(block.loop for block in program.blocks):
        if steps == 1:
            continue
        lines += ["", *(["theta = 0.0"] * first), f"for step in range({steps}):"]
        first = False
        for number, block in enumerate(b for b in program.blocks if b.loop == steps):
            lines += [""] * (number > 0)
            lines += indented(_looped(program, block))
    return lines


def _called(program: Program, calls: Sequence[Call], *, first: bool) -> list[str]:
    """Prints calls and clusters that are printed themselves, each under its remark."""
    paths = program.paths_as_swept
    loops = PartLoops(paths, [call.parts for call in calls if call.parts])
    lines = ["", *_OF_PART] if any(call.parts for call in calls) else []
    lines += ["", *loops.definition] if loops.definition else []
    group = None
    for number, call in enumerate(calls):
        if call.parts and number and calls[number - 1].parts == call.parts:
            continue
        own = None if call.parts else call.rows[0][0].blocks[0].group
        lines += [""] * (own is None or own != group)
        group = own
        if len(call.parts) > 1 and first:
            lines.append("theta = 0.0")
            first = False
        if call.parts:
            same = [other for other in calls if other.parts == call.parts]
            lines += _over_parts(same, loops, paths, first=first)
        else:
            lines += comment_lines(_remarks(call, ()), WIDTH)
            lines += _statements(program, call, first=first)
        first = False
    return lines


def unpacked_sides(lines: Sequence[str]) -> list[str]:
    """Returns the statements that unpack the sides, as far as lines read them."""
    text = "\n".join(lines)
    read: list[str] = []
    for number in (1, 2):
        tables = [f"{letter}{number}" for letter in SIDE_TABLES.values()]
        names = [table if re.search(rf"\b{table}\[", text) else "_" for table in tables]
        if {*names} != {"_"}:
            read.append(f"{', '.join(names)} = side{number}")
    return read


def _over_parts(
    calls: Sequence[Call], loops: PartLoops, paths: Mapping[str, str], *, first: bool
) -> list[str]:
    """Prints calls for the same parts: in a loop, or for the one part that it is."""
    parts = calls[0].parts
    head, part = loops.head(parts)
    width = WIDTH - len(INDENT) * bool(head)
    lines: list[str] = []
    for call in calls:
        within = (paths[parts[0]],) if head else ()
        lines += comment_lines(_remarks(call, within), width)
        for row in call.rows:
            assert call.function is not None
            value = call.function.call((f"*of({part})",), row[0])
            lines += statement("theta = " if first else "theta += ", value, width)
            first = False
    return [*head, *indented(lines)] if head else lines


def _statements(program: Program, call: Call, *, first: bool) -> list[str]:
    target = "theta = " if first else "theta += "
    cluster = call.rows[0][0]
    if call.function is None:
        names = program.input_names
        return cluster_lines(program, cluster.blocks, names, target=target)
    lines: list[str] = []
    for row in call.rows:
        value = call.function.call(("side1", "side2"), row[0])
        lines += statement(target, value, WIDTH)
        target = "theta += "
    return lines


def _remarks(call: Call, within: Sequence[str]) -> list[str]:
    """Says of every leaf, or of all that are alike, how it is contracted.

    Args:
        call: What computes them.
        within: Path of the first part that they are in, if they are in one.
    """
    said: dict[tuple[str, str], list[list[LayerPlan]]] = {}
    biases: list[Sequence[LayerPlan]] = []
    lines: list[str] = []
    for row in call.rows:
        for number, block in enumerate(row[0].blocks):
            alike = [cluster.blocks[number] for cluster in row]
            records = [each.record for each in alike if each.record is not None]
            lines += block.comments
            if records:
                kind = (records[0].method, records[0].order)
                said.setdefault(kind, []).append(records)
            if shared := [each.bias for each in alike if each.bias is not None]:
                biases.append(shared)
    known = call.function is not None and call.function.method is not None
    for rows in said.values():
        lines += remark(rows, within, method=not known)
    return [*lines, *biases_remark(biases, within)]


def _looped(program: Program, block: Block) -> list[str]:
    comments = () if block.record is None else remark([[block.record]])
    width = WIDTH - len(INDENT)
    printer = printer_of(program, block, program.input_names, width)
    return [*comment_lines(comments, width), *printer.lines(target="theta += ")]
