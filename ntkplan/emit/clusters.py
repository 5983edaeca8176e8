"""Blocks that compute something together, and what they do whatever their names are."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.layout import WIDTH
from ntkplan.emit.names import free
from ntkplan.emit.statements import BlockPrinter
from ntkplan.emit.tables import SIDE_TABLES
from ntkplan.ir.program import Block, Program

Forms = Mapping[tuple[tuple[str, ...], str], tuple[str, ...]]
"""Forms by the parameters and the syntax of those that they stand in for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Blocks one of which reads what another computes, or a block alone.

    Attributes:
        part: Key of the part of the model that they belong to, or empty.
        blocks: The blocks, in order.
        form: What they do to the arrays that they are given, in words of its own, and
            return; None where they are given more than those of both sides.
        parameters: The names in the form for the keys of those arrays.
        keys: The keys.
    """

    part: str
    blocks: tuple[Block, ...]
    form: tuple[str, ...] | None
    parameters: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


def clusters_of(program: Program) -> list[Cluster]:
    """Sorts the blocks of a program that are no loops into clusters, in order."""
    found: list[list[Block]] = []
    of_name: dict[tuple[str, str], list[Block]] = {}
    for block in program.blocks:
        if block.loop != 1:
            continue
        own = [(block.part, name) for name in sorted(_names(block) & block.shared)]
        known = [of_name[name] for name in own if name in of_name]
        together = known[0] if known else []
        for other in known[1:]:
            if other is not together:
                together += other
                found = [cluster for cluster in found if cluster is not other]
        if not known:
            found.append(together)
        together.append(block)
        names = {name for each in together for name in _names(each) & each.shared}
        of_name |= {(block.part, name): together for name in names}
    order = {id(block): number for number, block in enumerate(program.blocks)}
    for cluster in found:
        cluster.sort(key=lambda block: order[id(block)])
    return [cluster_of(program, own) for blocks in found for own in _apart(blocks)]


def _apart(blocks: Sequence[Block]) -> list[list[Block]]:
    """Separates blocks of a part that compute the very same.

    Each is then what other parts compute of one leaf; compilers do it once.
    """
    first, *others = blocks
    same = all(not each.statements and each.results == first.results for each in others)
    if not first.part or not same or not others:
        return [list(blocks)]
    made = {item.target.name for item in first.statements}
    return [
        [
            dataclasses.replace(
                each, statements=first.statements, shared=each.shared - made
            )
        ]
        for each in blocks
    ]


def cluster_lines(
    program: Program,
    blocks: Sequence[Block],
    names: Mapping[str, str],
    *,
    target: str,
) -> list[str]:
    """Prints the blocks of a cluster.

    Args:
        program: What they are of.
        blocks: The blocks.
        names: Python text for the arrays that they are given.
        target: What stands before the first result; all others are added to `theta`.
    """
    return [
        line
        for number, block in enumerate(blocks)
        for line in printer_of(program, block, names).lines(
            target="theta += " if number else target
        )
    ]


def printer_of(
    program: Program, block: Block, names: Mapping[str, str], width: int = WIDTH
) -> BlockPrinter:
    """Returns the printer of a block, in some names for the arrays that it is given."""
    return BlockPrinter(
        block,
        program.kernel_labels,
        names,
        None,  # that of the whole kernel
        program.dtype,
        program.sums_dtype,
        width,
    )


def syntax(lines: Sequence[str] | None) -> str:
    """Returns what is equal for statements that are written alike, however split."""
    return ast.dump(ast.parse("\n".join(lines or ())))


def with_forms(clusters: Sequence[Cluster], forms: Forms) -> list[Cluster]:
    """Gives clusters other forms, by how they are written.

    Args:
        clusters: All clusters of a program.
        forms: The other forms.
    """
    if not forms:
        return [*clusters]
    return [
        dataclasses.replace(
            cluster,
            form=forms.get((cluster.parameters, syntax(cluster.form)), cluster.form),
        )
        for cluster in clusters
    ]


def _names(block: Block) -> frozenset[str]:
    """Returns the names of all arrays that a block reads or computes."""
    arrays = [
        array for item in block.statements for array in (*item.sources, item.target)
    ]
    return frozenset(array.name for array in (*arrays, *(a for a, _ in block.results)))


def cluster_of(program: Program, blocks: Sequence[Block]) -> Cluster:
    """Returns blocks of one part, or of none, as a cluster.

    Args:
        program: What they are of.
        blocks: The blocks, in order.
    """
    part = blocks[0].part
    names = program.part_names[part] if part else program.input_names
    made = {item.target.name for block in blocks for item in block.statements}
    parameters: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name in dict.fromkeys(name for block in blocks for name in _given(block)):
        if name in made:
            continue
        table, _, key = names.get(name, "").partition('["')
        key = key.removesuffix('"]')
        if table[:-1] not in SIDE_TABLES.values() or '"' in key:
            return Cluster(part=part, blocks=tuple(blocks), form=None)
        wanted = "layer" if table[:-1] == SIDE_TABLES["cotangents"] else "given"
        reference = f"{table[:-1]}:{key}"
        if reference not in parameters:
            parameters[reference] = free(wanted, parameters.values())
        texts[name] = f"{table}[{parameters[reference]}]"
    # A function takes the keys of cotangents first, as calls are to look alike.
    references = sorted(
        parameters, key=lambda text: not text.startswith(SIDE_TABLES["cotangents"])
    )
    keys = [reference.partition(":")[2] for reference in references]
    for name in sorted(made):
        short = _without_key(name, keys)
        if name not in texts and short != name:
            texts[name] = free(short, texts.values())
    alone = sum(len(block.results) for block in blocks) == 1
    target = "return " if alone else "theta = "
    form = cluster_lines(program, blocks, texts, target=target)
    return Cluster(
        part=part,
        blocks=tuple(blocks),
        form=(*form, *(["return theta"] * (not alone))),
        parameters=tuple(parameters[reference] for reference in references),
        keys=tuple(keys),
    )


def _without_key(name: str, keys: Sequence[str]) -> str:
    """Returns the name of an array that several blocks read, without the key in it."""
    for key in keys:
        name = re.sub(rf"_{re.escape(key)}(_\d+)?$", "", name)
    return name


def _given(block: Block) -> list[str]:
    """Returns the names of what a block reads, in order."""
    arrays = [array for item in block.statements for array in item.sources]
    return [array.name for array in (*arrays, *(array for array, _ in block.results))]
