"""What the forward pass is given and gives beside its output, by keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.emit import names
from ntkplan.emit.loop_origins import last_read, nearest_tap
from ntkplan.emit.node_names import LONGEST, node_names
from ntkplan.ir.graph import KernelGraph, Leaf
from ntkplan.ir.program import Cotangent, Part, Record, Tap
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods.network import input_name

_OUTSIDE = ""
_INPUTS = "inputs"

SIDE_TABLES = {"activations": "a", "cotangents": "c"}
"""What the dictionaries of a side are called, its number behind it, as in remarks."""


class Tables:
    """Gives keys to taps, records and cotangents, each distinct thing once.

    What lies in a part of the model has a key in that part's own dictionary, so that
    like parts have like keys.

    Attributes:
        taps: By the variables to which they are added.
        records: By part, and by the number of the array that they are.
        factors: The same for those that are the same for every example.
        cotangents: By the number of the array.
        input_names: Python text for every array that blocks are given.
        part_names: For each part, the text for its own arrays in its own functions.
        input_keys: The dictionary key of each array.
    """

    def __init__(
        self,
        graph: KernelGraph,
        leaf_names: Sequence[str],
        parts: Sequence[Part],
        layers: Sequence[Layer],
    ) -> None:
        """Starts with nothing.

        Args:
            graph: The model.
            leaf_names: A name for every leaf.
            parts: What in the model is alike.
            layers: Those that are tapped.
        """
        self._graph = graph
        self._leaf_names = {
            leaf.path: name for leaf, name in zip(graph.leaves, leaf_names, strict=True)
        }
        self._parts = {part.key: part for part in parts}
        self._part_of = {
            variable: part.key for part in parts for variable in part.variables
        }
        self._short_names: dict[str, dict[str, str]] = {}
        paths = [leaf.path for leaf in graph.leaves]
        self._names = node_names(paths)
        local = dict.fromkeys(
            path.removeprefix(f"{part.path}/")
            for part in parts
            for path in paths
            if path.startswith(f"{part.path}/")
        )
        # Parts that are alike need the same keys: names are clear in all of them.
        self._local_names = node_names(list(local))
        self.taps: dict[Var, Tap] = {}
        self.records: dict[tuple[str, int], Record] = {}
        self.factors: dict[tuple[str, int], Record] = {}
        self.cotangents: dict[int, Cotangent] = {}
        self.input_names: dict[str, str] = {}
        self.part_names: dict[str, dict[str, str]] = {}
        self.input_keys: dict[str, str] = {}
        self._ambiguous = self._groups_of_several_taps(layers)

    def shift(self, leaf: Leaf) -> Tap:
        """Returns the tap on a leaf that is pushed forward."""
        part = self._part_of.get(leaf.variable, _OUTSIDE)
        return Tap(
            key=self._leaf_name(leaf, part),
            part=part,
            variable=leaf.variable,
            shape=tuple(leaf.shape),
            dtype=leaf.dtype,
        )

    def part_of_all(self, layer: Layer) -> str:
        """Returns the part in which all uses of a layer lie, or nothing."""
        taps = [self.taps[use.tap] for stack in layer.stacks for use in stack.uses]
        return _common(tap.part for tap in taps)

    def add_cotangents(self, layer: Layer, stack: Stack) -> None:
        """Registers the taps of a stack and the array of its cotangents."""
        taps = [self._tap(layer, use.tap) for use in stack.uses]
        part = _common(tap.part for tap in taps)
        if stack.cotangents_id not in self.cotangents:
            taken = [item.key for item in self.cotangents.values() if item.part == part]
            # A leaf that is a part of what is tapped has cotangents of its own.
            alone = len(taps) == 1 and stack.first.value_crop is None
            wanted = taps[0].key if alone else self._layer_name(layer, part)
            self.cotangents[stack.cotangents_id] = Cotangent(
                key=names.free(wanted, [*taken, *self._parts]),
                part=part,
                taps=tuple(tap.place for tap in taps),
                shape=stack.value_shape,
                crop=stack.first.value_crop,
            )
        item = self.cotangents[stack.cotangents_id]
        self._name("cotangents", stack.cotangents_id, item.part, item.key)

    def add_records(
        self, layer: Layer, stack: Stack, read: Collection[str], *, later: bool
    ) -> None:
        """Registers what a stack records, as far as it is read.

        Args:
            layer: What the stack is of.
            stack: The stack.
            read: Names of the arrays that some statement reads.
            later: Whether its taps stand later, so that factors that differ from
                example to example are slopes on the way there.
        """
        use = stack.first
        part = _common(self.taps[each.tap].part for each in stack.uses)
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
            number = stack.activations_id
            self._record(layer, part, record, number, read, shared=use.shared)
        for index, factor in enumerate(use.factors):
            slope = later and not factor.shared
            record = Record(
                key=f"{self.cotangents[stack.cotangents_id].key}_slope" * slope,
                variables=stack.factor_variables(index),
                order=None,
                shape=tuple(use.sizes[label] for label in factor.labels),
            )
            number = stack.factor_ids[index]
            self._record(layer, part, record, number, read, shared=factor.shared)

    def _tap(self, layer: Layer, variable: Var) -> Tap:
        if variable not in self.taps:
            part = self._part_of.get(variable, _OUTSIDE)
            taken = [tap.key for tap in self.taps.values() if tap.part == part]
            name = self._layer_name(layer, part)
            if variable is layer.leaf.variable:
                name = self._leaf_name(layer.leaf, part)
            self.taps[variable] = Tap(
                key=names.free(name, [*taken, *self._parts]),
                part=part,
                variable=variable,
                shape=_squeezed(array_shape(variable)),
                dtype=str(array_dtype(variable)),
            )
        return self.taps[variable]

    def _record(
        self,
        layer: Layer,
        part: str,
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
        if part == _OUTSIDE:
            part = self._part_of.get(layer.leaf.variable, _OUTSIDE)
        if shared or not self._has(part, record.variables):
            part = _OUTSIDE
        table = self.factors if shared else self.records
        if (part, number) not in table:
            taken = [other.key for (own, _), other in table.items() if own == part]
            wanted = record.key or self._record_name(layer, part, record.variables)
            if shared and wanted == _INPUTS:
                wanted = f"{self._leaf_name(layer.leaf, part)}_factor"
            key = names.free(wanted, [*taken, *self._parts])
            table[part, number] = dataclasses.replace(record, key=key, part=part)
        key = table[part, number].key
        if not shared:
            self._name(kind, number, part, key)
            return
        for side in (0, 1):
            name = input_name(kind, number, side)
            self.input_names[name] = f'factors["{key}"]'
            self.input_keys[name] = key

    def _name(self, kind: str, array_id: int, part: str, key: str) -> None:
        """Says how blocks read an array, and how functions of its part do."""
        within = f'["{part}"]' if part else ""
        for number in (0, 1):
            name = input_name(kind, array_id, number)
            table = f"{SIDE_TABLES[kind]}{number + 1}"
            self.input_names[name] = f'{table}{within}["{key}"]'
            self.input_keys[name] = key
            if part:
                own = self.part_names.setdefault(part, {})
                own[name] = f'{table}["{key}"]'

    def _has(self, part: str, variables: Sequence[Var]) -> bool:
        """Says whether a part computes variables itself, or is given them."""
        if part == _OUTSIDE:
            return True
        own = self._parts[part]
        return all(item in own.variables or item in own.given for item in variables)

    def _layer_name(self, layer: Layer, part: str) -> str:
        """Names what a leaf belongs to, or the leaf where that has several taps."""
        group = self._group_name(layer, part)
        if (part, group) not in self._ambiguous:
            return group
        if part != _OUTSIDE:
            return self._leaf_name(layer.leaf, part)
        return self._node_name(layer.leaf.path)

    def _group_name(self, layer: Layer, part: str) -> str:
        path = self._local_path(layer.leaf, part)
        if part == _OUTSIDE:
            # A tap outside of the part that reads the leaf is one behind it.
            own = self._part_of.get(layer.leaf.variable)
            return f"{own}_later" if own else self._node_name(_holder(path))
        return self._short_name(path, part)

    def _node_name(self, path: str) -> str:
        """Names what stands at a place in `params`, or the values at a cut."""
        return self._names.get(path) or names.layer_name(f"{path}/leaf")

    def _groups_of_several_taps(self, layers: Sequence[Layer]) -> set[tuple[str, str]]:
        """Returns what leaves belong to, by part, that do not share their taps."""
        found: dict[tuple[str, str], list[set[Var]]] = {}
        for layer in layers:
            taps = {use.tap for stack in layer.stacks for use in stack.uses}
            part = _common(self._part_of.get(tap, _OUTSIDE) for tap in taps)
            sets = found.setdefault((part, self._group_name(layer, part)), [])
            apart = [other for other in sets if other.isdisjoint(taps)]
            joined = taps.union(*(other for other in sets if other not in apart))
            sets[:] = [*apart, joined]
        return {group for group, sets in found.items() if len(sets) > 1}

    def _short_name(self, path: str, part: str) -> str:
        """Names what a leaf of a part belongs to, by the leaf's path in it."""
        if part not in self._short_names:
            start = f"{self._parts[part].path}/"
            own = [leaf for leaf in self._graph.leaves if leaf.path.startswith(start)]
            paths = [self._local_path(leaf, part) for leaf in own]
            self._short_names[part] = names.short_layer_names(paths)
        name = self._short_names[part].get(path) or names.layer_name(path)
        if len(name) <= LONGEST:
            return name
        return self._local_names.get(_holder(path)) or self._node_name(_holder(path))

    def _leaf_name(self, leaf: Leaf, part: str) -> str:
        if part == _OUTSIDE:
            return self._leaf_names[leaf.path]
        path = self._local_path(leaf, part)
        if "/" not in path:
            return names.identifier(path)
        name = path.rpartition("/")[2]
        return names.identifier(f"{self._short_name(path, part)}_{name}")

    def _local_path(self, leaf: Leaf, part: str) -> str:
        """Returns a leaf's path, as seen from a part."""
        if part == _OUTSIDE:
            return leaf.path
        return leaf.path.removeprefix(f"{self._parts[part].path}/")

    def _record_name(self, layer: Layer, part: str, variables: Sequence[Var]) -> str:
        """Names a record by the input it is, or by the tap that it comes from."""
        variable, graph = variables[0], self._graph
        if any(variable is data for data in graph.data):
            return f"{self._layer_name(layer, part)}_in" if part else "x"
        for leaf in graph.leaves:
            if variable is leaf.variable:
                return self._leaf_name(leaf, part)
        if variable in self.taps and self.taps[variable].part == part:
            return f"{self.taps[variable].key}_out"
        upstream = graph.upstream((variable,))
        sources = [tap for tap in self.taps.values() if tap.variable in upstream]
        if not sources and part == _OUTSIDE:
            return _INPUTS
        if sources:
            nearest = max(sources, key=self._place)
            if nearest.variable in graph.taps:
                inside = {tap: tap for tap in graph.taps if tap in self.taps}
                found = nearest_tap(graph, variable, inside)
                if found is not None:
                    ending = "_out" if found[1] else "_act"
                    return f"{self.taps[found[0]].key}{ending}"
            elif nearest.part == part:
                return f"{nearest.key}_act"
        return f"{self._layer_name(layer, part)}_in"

    def _place(self, tap: Tap) -> int:
        """Returns the number of the equation that a tap stands behind, or -1."""
        if tap.variable in self._graph.taps:
            return last_read(self._graph, tap.variable)
        return self._graph.definition(tap.variable) or -1


def _holder(path: str) -> str:
    """Returns the path of what holds a leaf, or of a leaf that nothing holds."""
    return path.rpartition("/")[0] or path


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _common(parts: Iterable[str]) -> str:
    """Returns the part that all are, or nothing."""
    found = set(parts)
    return found.pop() if len(found) == 1 else _OUTSIDE
