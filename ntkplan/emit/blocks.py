"""The leaves' own parts of the kernel, added up in `theta`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan.emit.cluster_function import ClusterFunction, cluster_functions
from ntkplan.emit.clusters import Cluster, cluster_lines, clusters_of, printer_of
from ntkplan.emit.expression import INDENT, indented, statement
from ntkplan.emit.numbering import for_each
from ntkplan.emit.remarks import comment_lines, remark
from ntkplan.emit.taps import WIDTH
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.program import Block, Program

_SIDES = ("activations1, cotangents1 = side1", "activations2, cotangents2 = side2")
_OF_PART = (
    "def of(part):",
    f'{INDENT}"""Both sides of a part of the model."""',
    f"{INDENT}return [[table.get(part) for table in side] for side in (side1, side2)]",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """Clusters that are computed by one statement, or a cluster by its own.

    Attributes:
        function: What is called, or None where a cluster is printed itself.
        parts: Keys of the parts of the model that the statement runs over; none where
            it is outside of all, or names what it reads itself.
        rows: For every layer of the call the clusters in all of the parts.
    """

    function: ClusterFunction | None
    parts: tuple[str, ...]
    rows: tuple[tuple[Cluster, ...], ...]


def calls_of(program: Program) -> list[Call]:
    """Sorts the clusters of a program by what computes them, in their order.

    What parts of the model compute by one function, of layers of the same names, is one
    call in a loop over the parts.
    """
    clusters = clusters_of(program)
    functions = cluster_functions(program, clusters)
    alike: dict[tuple[object, ...], list[Cluster]] = {}
    for cluster in clusters:
        function = functions.get(cluster.form) if cluster.form else None
        key = (function, bool(cluster.part), cluster.keys)
        alike.setdefault(key if function and cluster.part else (cluster,), []).append(
            cluster
        )
    calls: dict[tuple[object, ...], Call] = {}
    for row in alike.values():
        function = functions.get(row[0].form) if row[0].form else None
        parts = tuple(cluster.part for cluster in row if cluster.part)
        if function is None:
            calls[row[0],] = Call(function=None, parts=(), rows=(tuple(row),))
            continue
        known = calls.get((function, parts))
        calls[function, parts] = Call(
            function=function,
            parts=parts,
            rows=(*(known.rows if known else ()), tuple(row)),
        )
    return list(calls.values())


def block_sections(calls: Sequence[Call]) -> list[str]:
    """Returns the definitions of the functions that are called."""
    return list(dict.fromkeys(call.function.text for call in calls if call.function))


def block_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints all blocks; those that run over the same steps share a loop.

    Args:
        program: What they are of.
        calls: What computes those that are no loops.
    """
    paths = {part.key: part.path for part in program.parts}
    lines = ["", *_OF_PART] if any(call.parts for call in calls) else []
    first, group = True, None
    for call in calls:
        own = None if call.parts else call.rows[0][0].blocks[0].group
        lines += [""] * (own is None or own != group)
        group = own
        if len(call.parts) > 1 and first:
            lines.append("theta = 0.0")
            first = False
        lines += comment_lines(_remarks(call, paths), WIDTH)
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
    return [
        text
        for text, number in zip(_SIDES, (1, 2), strict=True)
        if any(
            f"{name}{number}[" in line
            for name in ("activations", "cotangents")
            for line in lines
        )
    ]


def _statements(program: Program, call: Call, *, first: bool) -> list[str]:
    if call.function is None:
        cluster = call.rows[0][0]
        names = program.input_names
        return cluster_lines(program, cluster.blocks, names, first=first)
    keys = [row[0].keys for row in call.rows]
    function, target = call.function, "theta = " if first else "theta += "
    if not call.parts:
        value = function.call(("side1", "side2"), keys)
        return statement(target, value, WIDTH)
    width = WIDTH - len(INDENT) * (len(call.parts) > 1)
    return for_each(
        "part",
        call.parts,
        lambda part: statement(target, function.call((f"*of({part})",), keys), width),
    )


def _remarks(call: Call, paths: dict[str, str]) -> list[str]:
    """Says of every leaf, or of all that are alike, how it is contracted."""
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
    parts = [paths[part] for part in call.parts]
    return [*lines, *(line for rows in said.values() for line in remark(rows, parts))]


def _looped(program: Program, block: Block) -> list[str]:
    comments = () if block.record is None else remark([[block.record]], ())
    width = WIDTH - len(INDENT)
    printer = printer_of(program, block, program.input_names, width)
    return [*comment_lines(comments, width), *printer.lines(first=False)]
