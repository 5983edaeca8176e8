"""The leaves' own parts of the kernel, added up in `theta`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.cluster_function import ClusterFunction, cluster_functions
from ntkplan.emit.clusters import Cluster, cluster_lines, clusters_of, printer_of
from ntkplan.emit.expression import INDENT, indented, statement
from ntkplan.emit.numbering import PartLoops
from ntkplan.emit.remarks import comment_lines, remark
from ntkplan.emit.tables import SIDE_TABLES
from ntkplan.emit.taps import WIDTH
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.program import Block, Program

_SIDES = ("a1, c1 = side1", "a2, c2 = side2")
_OF_PART = (
    "def of(part):",
    f'{INDENT}"""Both sides of a part of the model."""',
    f"{INDENT}return [[table.get(part) for table in side] for side in (side1, side2)]",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """Clusters that are computed by statements of the same function, or one alone.

    Attributes:
        function: What is called, or None where a cluster is printed itself.
        parts: Keys of the parts of the model that the statements run over; none where
            they are outside of all, or name what they read themselves.
        rows: For every statement the clusters in all of the parts.
    """

    function: ClusterFunction | None
    parts: tuple[str, ...]
    rows: tuple[tuple[Cluster, ...], ...]


def calls_of(program: Program) -> list[Call]:
    """Sorts the clusters of a program by what computes them, in their order.

    What parts of the model compute by one function, of layers of the same names, is one
    row of a call; calls for the same parts follow upon each other.
    """
    clusters = clusters_of(program)
    functions = cluster_functions(program, clusters)
    alike: dict[tuple[object, ...], list[Cluster]] = {}
    for cluster in clusters:
        form = cluster.form or ()
        function = functions.get(form)
        if function is None or not cluster.part:
            alike[id(cluster),] = [cluster]
            continue
        key = [function.name, function.settings[form], cluster.keys]
        repeated = sum(other.part == cluster.part for other in alike.get((*key, 0), ()))
        alike.setdefault((*key, repeated), []).append(cluster)
    calls: dict[tuple[object, ...], Call] = {}
    for row in alike.values():
        function = functions.get(row[0].form or ())
        parts = tuple(cluster.part for cluster in row if cluster.part)
        if function is None:
            calls[id(row[0]),] = Call(function=None, parts=(), rows=(tuple(row),))
            continue
        key = (function.name, parts)
        known = calls.get(key)
        rows = (*(known.rows if known else ()), tuple(row))
        calls[key] = Call(function=function, parts=parts, rows=rows)
    places: dict[tuple[str, ...], int] = {}
    for number, call in enumerate(calls.values()):
        places.setdefault(call.parts, number)
    numbered = enumerate(calls.values())
    return [
        call
        for _, call in sorted(
            numbered,
            key=lambda item: places[item[1].parts] if item[1].parts else item[0],
        )
    ]


def block_sections(calls: Sequence[Call]) -> list[str]:
    """Returns the definitions of the functions that are called."""
    return list(dict.fromkeys(call.function.text for call in calls if call.function))


def block_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints all blocks; those that run over the same parts or steps share a loop.

    Args:
        program: What they are of.
        calls: What computes those that are no loops.
    """
    paths = {part.key: part.path for part in program.parts}
    loops = PartLoops(paths, [call.parts for call in calls if call.parts])
    lines = ["", *_OF_PART] if any(call.parts for call in calls) else []
    lines += ["", *loops.definition] if loops.definition else []
    first, group = True, None
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
    for steps in dict.fromkeys(block.loop for block in program.blocks):
        if steps == 1:
            continue
        lines += ["", *(["theta = 0.0"] * first), f"for step in range({steps}):"]
        first = False
        for number, block in enumerate(b for b in program.blocks if b.loop == steps):
            lines += [""] * (number > 0)
            lines += indented(_looped(program, block))
    return lines


def unpacked_sides(lines: Sequence[str]) -> list[str]:
    """Returns the statements that unpack the sides, as far as lines read them."""
    read = [
        text
        for text, number in zip(_SIDES, (1, 2), strict=True)
        if any(
            re.search(rf"\b{letter}{number}\[", line)
            for letter in SIDE_TABLES.values()
            for line in lines
        )
    ]
    return ["# Activations and cotangents, as A and C below.", *read] if read else []


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
    lines: list[str] = []
    for row in call.rows:
        for number, block in enumerate(row[0].blocks):
            of_all = [cluster.blocks[number].record for cluster in row]
            records = [record for record in of_all if record is not None]
            lines += block.comments
            if records:
                kind = (records[0].method, records[0].order)
                said.setdefault(kind, []).append(records)
    return [*lines, *(line for rows in said.values() for line in remark(rows, within))]


def _looped(program: Program, block: Block) -> list[str]:
    comments = () if block.record is None else remark([[block.record]])
    width = WIDTH - len(INDENT)
    printer = printer_of(program, block, program.input_names, width)
    return [*comment_lines(comments, width), *printer.lines(target="theta += ")]
