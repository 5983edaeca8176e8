"""From leaves to layers: every leaf with all its uses, in labels with names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from ntkplan.ir.equation import Body
from ntkplan.ir.graph import KernelGraph, Leaf, build_graph
from ntkplan.ir.use import Layer, Stack, Use
from ntkplan.rules import axes
from ntkplan.trace.derivatives import without_forward_mode
from ntkplan.trace.follow import follow
from ntkplan.trace.later_taps import LaterTaps
from ntkplan.trace.meeting import Absence, Meeting, Uncovered
from ntkplan.trace.naming import named_uses
from ntkplan.trace.openings import closed_body
from ntkplan.trace.scope import Scope


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layering:
    """What following every leaf has found.

    Attributes:
        graph: The model, with the taps and records that the layers need.
        layers: One for every differentiated leaf, in the order of `params`.
        scope: The model as it was traced, and what was added to it.
    """

    graph: KernelGraph
    layers: tuple[Layer, ...]
    scope: Scope

    def reduced(self, layers: Iterable[Layer]) -> KernelGraph:
        """Returns the model with no more than some layers need added to it."""
        return _with_additions(self.graph, self.scope, layers)


def find_layers(graph: KernelGraph) -> Layering:
    """Follows every differentiated leaf to its uses."""
    scope = Scope(graph, graph.data, depth=0)
    no_forward = without_forward_mode(graph)
    found = [
        dataclasses.replace(
            _layer(scope, leaf),
            no_forward=no_forward.get(leaf),
        )
        for leaf in graph.leaves
        if leaf.differentiated
    ]
    layers = _numbered(found, _with_later_taps(scope, found))
    return Layering(
        graph=_with_additions(graph, scope, layers), layers=layers, scope=scope
    )


def _layer(scope: Scope, leaf: Leaf) -> Layer:
    if leaf.variable not in scope.moving:
        return Layer(leaf=leaf, stacks=(), idle=True)
    by_parts = _structured(scope, leaf, whole=False)
    if isinstance(by_parts, Layer):
        return by_parts
    made = _structured(scope, leaf, whole=True)
    return made if isinstance(made, Layer) else opaque_layer(leaf, by_parts.reason)


def _structured(scope: Scope, leaf: Leaf, *, whole: bool) -> Layer | Uncovered:
    """Follows a leaf, by its parts or as a whole, to a layer."""
    found = follow(scope, leaf.variable, axes.identity(leaf.shape), whole=whole)
    if isinstance(found, Uncovered):
        return found
    absent = tuple(
        (item.place, item.result) for item in found if isinstance(item, Absence)
    )
    meetings = [item for item in found if isinstance(item, Meeting)]
    if not meetings:
        return Layer(leaf=leaf, stacks=(), idle=True, absent=absent)
    uses = named_uses(meetings, scope.varying)
    if isinstance(uses, Uncovered):
        return uses
    stacks = _stacked(uses)
    if any(item.scaled.tap is not item.tap for item in meetings):
        after = [item.tapped_after_scaling for item in meetings]
        uses = named_uses(after, scope.varying)
        if isinstance(uses, Uncovered):
            return uses
        # Uses that are scaled unlike, as steps of unlike length, cannot be stacked.
        stacks = min(_stacked(uses), stacks, key=len)
    return Layer(leaf=leaf, stacks=stacks, absent=absent)


def opaque_layer(leaf: Leaf, reason: str) -> Layer:
    """Returns the layer whose one use is a tap on the leaf itself."""
    labels = {
        f"parameter{axis}": size for axis, size in enumerate(leaf.shape) if size > 1
    }
    use = Use(
        rule="opaque",
        tap=leaf.variable,
        value=tuple(labels),
        parameter=tuple(labels),
        sizes=labels,
    )
    return Layer(leaf=leaf, stacks=(Stack(uses=(use,)),), opaque=reason)


def _stacked(uses: Sequence[Use]) -> tuple[Stack, ...]:
    """Puts uses of one form together."""
    groups: dict[tuple[object, ...], list[Use]] = {}
    for use in uses:
        groups.setdefault(use.form, []).append(use)
    return tuple(Stack(uses=tuple(group)) for group in groups.values())


def _with_later_taps(scope: Scope, layers: Sequence[Layer]) -> list[Layer | None]:
    """Returns the layers tapped later, None where that cannot be said of one."""
    taps = LaterTaps(scope)
    found = [taps.uses(layer) for layer in layers]
    return [
        None if not uses else dataclasses.replace(layer, stacks=_stacked(uses))
        for layer, uses in zip(layers, found, strict=True)
    ]


def _numbered(
    layers: Sequence[Layer], later: Sequence[Layer | None]
) -> tuple[Layer, ...]:
    """Numbers the arrays that stacks need, so that equal ones are computed once.

    Returns:
        The layers, each with the one that is tapped later.
    """
    cotangents: dict[object, int] = {}
    recorded: dict[object, int] = {}

    def number(key: object) -> int:
        return recorded.setdefault(key, len(recorded))

    def numbered(stack: Stack) -> Stack:
        first = stack.first
        order = None if first.patches is None else first.patches.order
        taps = (tuple(use.tap for use in stack.uses), first.value_crop)
        data = tuple(use.recorded for use in stack.uses)
        return dataclasses.replace(
            stack,
            cotangents_id=cotangents.setdefault(
                (taps, stack.value_shape), len(cotangents)
            ),
            activations_id=-1
            if first.recorded is None
            else number((data, order, stack.recorded_shape, first.activations_crop)),
            factor_ids=tuple(
                number((stack.factor_variables(index), factor_shape(first, index)))
                for index in range(len(first.factors))
            ),
        )

    def of(layer: Layer) -> Layer:
        return dataclasses.replace(layer, stacks=tuple(map(numbered, layer.stacks)))

    first = [of(layer) for layer in layers]
    second = [None if layer is None else of(layer) for layer in later]
    return tuple(
        dataclasses.replace(layer, later=other)
        for layer, other in zip(first, second, strict=True)
    )


def free_number(layers: Iterable[Layer]) -> int:
    """Returns a number that no array of cotangents has."""
    every = [item for layer in layers for item in (layer, layer.later) if item]
    taken = [stack.cotangents_id for layer in every for stack in layer.stacks]
    return max(taken, default=-1) + 1


def factor_shape(use: Use, index: int) -> tuple[int, ...]:
    """Returns the shape of one of a use's factors, one axis for every label."""
    return tuple(use.sizes[label] for label in use.factors[index].labels)


def _with_additions(
    graph: KernelGraph, scope: Scope, layers: Iterable[Layer]
) -> KernelGraph:
    """Adds to the traced model what layers tap and record in it."""
    needed = {
        variable for layer in layers for variable in (*layer.taps, *layer.recorded)
    }
    body = closed_body(scope, needed)
    taps = tuple(
        outer
        for scopes in scope.opened.values()
        for inner in scopes
        for outer in inner.taps.values()
        if outer in needed
    )
    body = Body(
        inputs=(*body.inputs, *taps),
        constants=body.constants,
        equations=body.equations,
        outputs=body.outputs,
    )
    return dataclasses.replace(
        graph, body=body, graph=build_graph(body.equations), taps=taps
    )
