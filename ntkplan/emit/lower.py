"""From chosen candidates to a program: taps, records, cotangents and blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from ntkplan._jax import Var
from ntkplan.emit import names
from ntkplan.emit.nested_params import with_places
from ntkplan.emit.node_names import node_names
from ntkplan.emit.parts import find_parts
from ntkplan.emit.precision import SIXTEEN_BITS
from ntkplan.emit.primitives.composite import steps
from ntkplan.emit.remarks import pushed_remark
from ntkplan.emit.sharing import share
from ntkplan.emit.tables import Tables
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.program import Block, Part, Program, Tiling
from ntkplan.ir.statements import Cut, Statement
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame
from ntkplan.methods.sharing import renamed, renamed_array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """A layer, the candidate that was chosen for it, and what the source says of it.

    Attributes:
        layer: The layer.
        candidate: What was chosen.
        comments: What stands above its block.
        record: The choice with its estimates, where these are to stand there instead.
        bias: What was chosen for a leaf whose part the candidate computes as well.
    """

    layer: Layer
    candidate: Candidate
    comments: tuple[str, ...] = ()
    record: LayerPlan | None = None
    bias: LayerPlan | None = None


def lower(
    graph: KernelGraph,
    choices: Sequence[Choice],
    frame: Frame,
    *,
    params: Any,
    batch_axis: int | None,
    data_access: tuple[str | None, ...],
    precision: str | None,
    tiling: Tiling | None = None,
    lower_blocks: int = 1,
    turns_kernels: bool = False,
    ordered: frozenset[Var] | None = None,
    joins_sides: bool = False,
    title: str,
    notes: tuple[str, ...],
) -> Program:
    """Lowers a plan to the program that the emitter prints.

    Args:
        graph: The model of one example.
        choices: One for every leaf that reaches the output, or with that of another.
        frame: The kernel's shared labels.
        params: Tree of the leaves.
        batch_axis: The example axis of every array of `x`, or None.
        data_access: For every array of `x`, Python text after `x`, or None.
        precision: Name of the precision of every contraction, or None.
        tiling: How the kernel is computed tile by tile, or None for all at once.
        lower_blocks: Blocks of rows, as far as the diagonal, where `x2` is absent.
        turns_kernels: Whether derivatives of convolutions are quick in loops on a CPU.
        ordered: Taps with cotangents of their own, if all cotangents are to have their
            axes in order in memory where any has positions; None if not.
        joins_sides: Whether one sweep is for both sides, where the same holds.
        title: First line of the module's docstring.
        notes: Its further lines.
    """
    graph = with_places(graph, params)
    choices = _with_leaves(choices, graph)
    paths = [leaf.path for leaf in graph.leaves]
    leaf_names = names.leaf_names(paths, node_names(paths))
    pushed = [c for c in choices if c.candidate.method is Method.NTK_VECTOR_PRODUCTS]
    tapped = [
        c for c in choices if c.candidate.method is not Method.NTK_VECTOR_PRODUCTS
    ]
    tables = _tables(graph, tapped, leaf_names, ())
    parts = _parts(graph, tables, pushed, tapped)
    if parts:
        tables = _tables(graph, tapped, leaf_names, parts)
    positions = _have_positions(tables)
    return Program(
        title=title,
        notes=notes,
        graph=graph,
        parts=parts,
        leaf_names=leaf_names,
        spec=frame.spec,
        batch_axis=batch_axis,
        data_access=data_access,
        taps=tuple(tables.taps.values()),
        shifts=tuple(tables.shift(choice.layer.leaf) for choice in pushed),
        records=tuple(tables.records.values()),
        factors=tuple(tables.factors.values()),
        cotangents=tuple(tables.cotangents.values()),
        blocks=_shared(
            [_block(choice, tables) for choice in _as_swept(tapped)], tables
        ),
        pushed_comments=pushed_remark([item.record for item in pushed if item.record]),
        kernel_labels=frame.kernel_labels,
        input_names=tables.input_names,
        part_names=tables.part_names,
        precision=precision,
        dtype=kernel_dtype(graph),
        sums_dtype=sums_dtype(graph),
        tiling=tiling,
        lower_blocks=lower_blocks,
        tangents=tuple(
            tables.taps[choice.layer.leaf.variable].place
            for choice in tapped
            if choice.layer.by_tangents
        ),
        turns_kernels=turns_kernels,
        orders_axes=ordered is not None and positions,
        ordered=_with_positions(tables, ordered or ()),
        joins_sides=joins_sides and positions,
    )


def _as_swept(choices: Sequence[Choice]) -> list[Choice]:
    """Returns choices in the order in which the backward sweep has their cotangents.

    Compilers follow the text where nothing else decides: what is contracted first need
    not be held until the sweep has reached the model's inputs.
    """

    def reached_at(choice: Choice) -> tuple[tuple[int, int], ...]:
        return min(use.place for stack in choice.layer.stacks for use in stack.uses)

    return sorted(choices, key=reached_at, reverse=True)


def _with_positions(tables: Tables, taps: Collection[Var]) -> frozenset[Var]:
    """Returns those of some taps that have positions, or the like, and features."""
    shapes = {variable: tap.shape for variable, tap in tables.taps.items()}
    return frozenset(tap for tap in taps if len(shapes.get(tap, ())) > 1)


def _have_positions(tables: Tables) -> bool:
    """Says whether cotangents have positions, or uses, beside their features."""
    cotangents = tables.cotangents.values()
    return any(len(item.shape) + len(item.taps) > 2 for item in cotangents)


def _with_leaves(choices: Sequence[Choice], graph: KernelGraph) -> list[Choice]:
    """Returns choices whose leaves are called what they are in a model."""
    leaves = {leaf.variable: leaf for leaf in graph.leaves}
    found: list[Choice] = []
    for choice in choices:
        leaf = leaves.get(choice.layer.leaf.variable, choice.layer.leaf)
        record = choice.record
        if record is not None:
            record = dataclasses.replace(record, path=leaf.path)
        layer = dataclasses.replace(choice.layer, leaf=leaf)
        found.append(dataclasses.replace(choice, layer=layer, record=record))
    return found


def sums_dtype(graph: KernelGraph) -> str | None:
    """Returns the dtype of the kernel of a model that has 16-bit numbers."""
    return kernel_dtype(graph) if set(SIXTEEN_BITS) & _dtypes(graph) else None


def kernel_dtype(graph: KernelGraph) -> str:
    """Returns the dtype of the kernel."""
    return "float64" if "float64" in _dtypes(graph) else "float32"


def _dtypes(graph: KernelGraph) -> set[str]:
    leaves = (leaf.dtype for leaf in graph.leaves if leaf.differentiated)
    return {*leaves, graph.output.dtype}


def _tables(
    graph: KernelGraph,
    tapped: Sequence[Choice],
    leaf_names: Sequence[str],
    parts: Sequence[Part],
) -> Tables:
    """Registers all taps, records and cotangents that the choices need."""
    layers = [choice.layer for choice in tapped]
    tables = Tables(graph, leaf_names, parts, layers)
    for choice in tapped:
        for stack in choice.layer.stacks:
            tables.add_cotangents(choice.layer, stack)
    read = {name for choice in tapped for name in _arrays_read(choice)}
    for choice in tapped:
        for stack in choice.layer.stacks:
            later = choice.candidate.later
            tables.add_records(choice.layer, stack, read, later=later)
    return tables


def _parts(
    graph: KernelGraph,
    tables: Tables,
    pushed: Sequence[Choice],
    tapped: Sequence[Choice],
) -> tuple[Part, ...]:
    """Returns the parts that are alike; where tangents are pushed there are none.

    Tangents and taps are put into one dictionary; parts would have one each.
    """
    if any(choice.layer.by_tangents for choice in tapped):
        return ()
    changed = [*tables.taps, *(choice.layer.leaf.variable for choice in pushed)]
    records = (*tables.records.values(), *tables.factors.values())
    recorded = [variable for record in records for variable in record.variables]
    return find_parts(graph, steps(graph.body, {*changed, *recorded}), changed)


def _arrays_read(choice: Choice) -> set[str]:
    """Returns the names of the arrays that a choice's statements are given."""
    made = {statement.target.name for statement in choice.candidate.statements}
    return {
        array.name
        for statement in choice.candidate.statements
        for array in statement.sources
        if array.name not in made
    } | {array.name for array, _ in choice.candidate.results if array.name not in made}


def _block(choice: Choice, tables: Tables) -> Block:
    candidate = choice.candidate
    statements, given = _without_aliases(candidate.statements)
    part = tables.part_of_all(choice.layer)
    local = _arrays_read(choice) <= tables.part_names.get(part, {}).keys()
    return Block(
        group=names.layer_name(choice.layer.leaf.path),
        part=part if local and candidate.loop == 1 else "",
        comments=choice.comments,
        record=choice.record,
        bias=choice.bias,
        statements=statements,
        results=tuple(
            (renamed_array(array, given), factor) for array, factor in candidate.results
        ),
        loop=candidate.loop,
    )


def _without_aliases(
    statements: Sequence[Statement],
) -> tuple[tuple[Statement, ...], dict[str, str]]:
    """Leaves out windows that are all of what they are cut from.

    Returns:
        The other statements, and the names that stand for those left out.
    """
    given: dict[str, str] = {}
    kept: list[Statement] = []
    for item in statements:
        if isinstance(item, Cut) and item.is_alias:
            given[item.target.name] = given.get(item.source.name, item.source.name)
        else:
            kept.append(renamed(item, given))
    return tuple(kept), given


def _shared(blocks: Sequence[Block], tables: Tables) -> tuple[Block, ...]:
    """Writes once what blocks of one part, or blocks outside of all, have in common."""
    result = list(blocks)
    for part in dict.fromkeys(block.part for block in blocks):
        at = [number for number, block in enumerate(blocks) if block.part == part]
        own = share([blocks[number] for number in at], tables.input_keys)
        for number, block in zip(at, own, strict=True):
            result[number] = block
    return tuple(result)
