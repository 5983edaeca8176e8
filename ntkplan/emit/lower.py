"""From chosen candidates to a program: taps, records, cotangents and blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.emit import names
from ntkplan.emit.sharing import share
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.program import Block, Cotangent, Program, Record, Tap, Tiling
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame, input_name


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """A layer, the candidate that was chosen for it, and what the source says of it."""

    layer: Layer
    candidate: Candidate
    comments: tuple[str, ...]


def lower(
    graph: KernelGraph,
    choices: Sequence[Choice],
    frame: Frame,
    *,
    batch_axis: int | None,
    data_access: tuple[str | None, ...],
    precision: str | None,
    tiling: Tiling | None = None,
    lower_blocks: int = 1,
    title: str,
    notes: tuple[str, ...],
) -> Program:
    """Lowers a plan to the program that the emitter prints.

    Args:
        graph: The model of one example.
        choices: One for every leaf that reaches the output.
        frame: The kernel's shared labels.
        batch_axis: The example axis of every array of `x`, or None.
        data_access: For every array of `x`, Python text after `x`, or None.
        precision: Name of the precision of every contraction, or None.
        tiling: How the kernel is computed tile by tile, or None for all at once.
        lower_blocks: Blocks of rows, as far as the diagonal, where `x2` is absent.
        title: First line of the module's docstring.
        notes: Its further lines.
    """
    leaf_names = names.leaf_names([leaf.path for leaf in graph.leaves])
    by_leaf = dict(zip([leaf.path for leaf in graph.leaves], leaf_names, strict=True))
    pushed = [c for c in choices if c.candidate.method is Method.NTK_VECTOR_PRODUCTS]
    tapped = [
        c for c in choices if c.candidate.method is not Method.NTK_VECTOR_PRODUCTS
    ]
    tracker = _Tracker(by_leaf)
    for choice in tapped:
        for stack in choice.layer.stacks:
            tracker.cotangents_of(choice.layer, stack)
    read = {
        array.name
        for choice in tapped
        for statement in choice.candidate.statements
        for array in statement.sources
    }
    for choice in tapped:
        for stack in choice.layer.stacks:
            tracker.recorded_by(graph, stack, read, later=choice.candidate.later)
    return Program(
        title=title,
        notes=notes,
        graph=graph,
        leaf_names=leaf_names,
        spec=frame.spec,
        batch_axis=batch_axis,
        data_access=data_access,
        taps=tuple(tracker.taps.values()),
        shifts=tuple(_shift(by_leaf, choice.layer) for choice in pushed),
        records=tuple(tracker.records.values()),
        factors=tuple(tracker.factors.values()),
        cotangents=tuple(tracker.cotangents.values()),
        blocks=share(tuple(_block(choice) for choice in tapped), tracker.input_keys),
        pushed_comments=tuple(line for choice in pushed for line in choice.comments),
        kernel_labels=frame.kernel_labels,
        input_names=tracker.input_names,
        precision=precision,
        sums_dtype=sums_dtype(graph),
        tiling=tiling,
        lower_blocks=lower_blocks,
        tangents=tuple(
            tracker.taps[choice.layer.leaf.variable].key
            for choice in tapped
            if choice.layer.by_tangents
        ),
    )


_SIXTEEN_BITS = ("bfloat16", "float16")


def sums_dtype(graph: KernelGraph) -> str | None:
    """Returns the dtype of the kernel of a model that has 16-bit numbers."""
    dtypes = [leaf.dtype for leaf in graph.leaves if leaf.differentiated]
    if not set(_SIXTEEN_BITS) & {*dtypes, graph.output.dtype}:
        return None
    return "float64" if "float64" in (*dtypes, graph.output.dtype) else "float32"


def _shift(by_leaf: dict[str, str], layer: Layer) -> Tap:
    leaf = layer.leaf
    return Tap(
        key=by_leaf[leaf.path],
        variable=leaf.variable,
        shape=_squeezed(leaf.shape),
        dtype=leaf.dtype,
    )


def _block(choice: Choice) -> Block:
    return Block(
        group=names.layer_name(choice.layer.leaf.path),
        comments=choice.comments,
        statements=choice.candidate.statements,
        results=choice.candidate.results,
        loop=choice.candidate.loop,
    )


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


class _Tracker:
    """Gives keys to taps, records and cotangents, each distinct thing once."""

    def __init__(self, by_leaf: dict[str, str]) -> None:
        self._by_leaf = by_leaf
        self.taps: dict[Var, Tap] = {}
        self.records: dict[int, Record] = {}
        self.factors: dict[int, Record] = {}
        self.cotangents: dict[int, Cotangent] = {}
        self.input_names: dict[str, str] = {}
        self.input_keys: dict[str, str] = {}

    def cotangents_of(self, layer: Layer, stack: Stack) -> None:
        """Registers the taps of a stack and the array of its cotangents."""
        keys = tuple(self._tap(layer, use.tap) for use in stack.uses)
        if stack.cotangents_id not in self.cotangents:
            taken = [item.key for item in self.cotangents.values()]
            wanted = keys[0] if len(keys) == 1 else names.layer_name(layer.leaf.path)
            self.cotangents[stack.cotangents_id] = Cotangent(
                key=names.free(wanted, taken),
                taps=keys,
                shape=stack.value_shape,
                crop=stack.first.value_crop,
            )
        key = self.cotangents[stack.cotangents_id].key
        self._name("cotangents", stack.cotangents_id, key)

    def _name(self, kind: str, array_id: int, key: str) -> None:
        for number in (0, 1):
            name = input_name(kind, array_id, number)
            self.input_names[name] = f'{kind}{number + 1}["{key}"]'
            self.input_keys[name] = key

    def _tap(self, layer: Layer, variable: Var) -> str:
        if variable not in self.taps:
            taken = [tap.key for tap in self.taps.values()]
            leaf = layer.leaf
            name = (
                self._by_leaf[leaf.path]
                if variable is leaf.variable
                else names.layer_name(leaf.path)
            )
            self.taps[variable] = Tap(
                key=names.free(name, taken),
                variable=variable,
                shape=_squeezed(array_shape(variable)),
                dtype=str(array_dtype(variable)),
            )
        return self.taps[variable].key

    def recorded_by(
        self, graph: KernelGraph, stack: Stack, read: Collection[str], *, later: bool
    ) -> None:
        """Registers what a stack records, as far as it is read.

        Args:
            graph: The model.
            stack: The stack.
            read: Names of the arrays that some statement reads.
            later: Whether its taps stand later, so that factors that differ from
                example to example are slopes on the way there.
        """
        use = stack.first
        if use.recorded is not None:
            variables = tuple(each.recorded for each in stack.uses if each.recorded)
            order = None if use.patches is None else use.patches.order
            if order == tuple(range(len(order or ()))):
                order = None
            record = Record(
                key="",
                variables=variables,
                order=order,
                shape=stack.recorded_shape,
                crop=use.activations_crop,
            )
            self._record(graph, record, stack.activations_id, read, shared=use.shared)
        for index, factor in enumerate(use.factors):
            record = Record(
                key=self._slope_name(stack) if later and not factor.shared else "",
                variables=stack.factor_variables(index),
                order=None,
                shape=tuple(use.sizes[label] for label in factor.labels),
            )
            number = stack.factor_ids[index]
            self._record(graph, record, number, read, shared=factor.shared)

    def _record(
        self,
        graph: KernelGraph,
        record: Record,
        number: int,
        read: Collection[str],
        *,
        shared: bool,
    ) -> None:
        """Registers one array, among the factors where it is shared by examples."""
        kind = "factors" if shared else "activations"
        names_read = {input_name(kind, number, side) for side in (0, 1)}
        if names_read.isdisjoint(read):
            return
        table = self.factors if shared else self.records
        if number not in table:
            taken = [other.key for other in table.values()]
            wanted = record.key or self._record_name(graph, record.variables)
            key = names.free(wanted, taken)
            table[number] = dataclasses.replace(record, key=key)
        if not shared:
            self._name(kind, number, table[number].key)
            return
        for side in (0, 1):
            name = input_name(kind, number, side)
            self.input_names[name] = f'factors["{table[number].key}"]'
            self.input_keys[name] = table[number].key

    def _slope_name(self, stack: Stack) -> str:
        return f"{self.cotangents[stack.cotangents_id].key}_slope"

    def _record_name(self, graph: KernelGraph, variables: Sequence[Var]) -> str:
        """Names a record by the input it is, or by the tap that it comes from."""
        variable = variables[0]
        if any(variable is data for data in graph.data):
            return "x"
        for leaf in graph.leaves:
            if variable is leaf.variable:
                return self._by_leaf[leaf.path]
        if variable in self.taps:
            return f"{self.taps[variable].key}_out"
        upstream = graph.upstream((variable,))
        sources = [tap for tap in self.taps.values() if tap.variable in upstream]
        if not sources:
            return "inputs"
        nearest = max(sources, key=lambda tap: graph.definition(tap.variable) or -1)
        return f"{nearest.key}_act"
