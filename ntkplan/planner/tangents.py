"""Whether to push the tangents of small leaves forward, to have their Jacobians.

    J[n,o,theta] = d output / d theta, a tangent for every entry of theta

All cotangents are pulled back to the earliest of the tapped leaves. Where the leaves
before some point of the model have fewer entries than there are outputs, pushing a
tangent for each of them is less, and cotangents need not go back beyond that point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan.ir.use import Layer, Stack, Use
from ntkplan.methods.candidate import Method
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.study import Study
from ntkplan.trace.layers import free_number

SMALL = 1.0
"""Small leaves have, all together, fewer entries than outputs times this."""


def tangents_first(study: Study, request: MethodRequest) -> tuple[Study, ...]:
    """Returns the same study with small leaves that are differentiated by tangents.

    These are leaves before the first that is not small: cotangents that go back to that
    one pass by all others for little. Either as many of them as are small together, or
    those alone that are small by far.

    Args:
        study: A model, in which no leaf is differentiated so.
        request: The methods asked for.
    """
    found: list[Study] = []
    for limit in (SMALL, SMALL / 8):
        small = _small_leaves(study, request, limit * study.spec.n_basis)
        if small and _spares_the_sweep(study, small):
            changed = _changed(study.layers, small)
            cut = changed.pop() if study.cut else None
            made = study.variant(changed, cut=cut, name=small)
            found += [made] if made not in found else []
    return tuple(found)


def _small_leaves(
    study: Study, request: MethodRequest, most_entries: float
) -> frozenset[str]:
    leaves = [layer for layer in study.layers if layer is not study.cut]
    found: set[str] = set()
    entries = 0
    for layer in sorted(leaves, key=_depth):
        path = layer.leaf.path
        entries += layer.leaf.size
        able = Method.JACOBIAN_CONTRACTION in request.of(path)[0]
        if entries >= most_entries or layer.no_forward is not None or not able:
            break
        found.add(path)
    return frozenset(found)


def _depth(layer: Layer) -> int:
    return min(use.equation for stack in layer.stacks for use in stack.uses)


def _spares_the_sweep(study: Study, small: frozenset[str]) -> bool:
    """Says whether cotangents of the other leaves go less far back."""
    every = [tap for layer in study.layers for tap in layer.taps]
    rest = [
        tap
        for layer in study.layers
        if layer.leaf.path not in small or layer is study.cut
        for tap in layer.taps
    ]
    return study.active(rest) < study.active(every)


def _changed(layers: Sequence[Layer], small: frozenset[str]) -> list[Layer]:
    """Returns the layers, those of small leaves with one tap on the leaf itself."""
    free = free_number(layers)
    changed: list[Layer] = []
    for layer in layers:
        if layer.leaf.path in small:
            changed.append(_tapped_itself(layer, free))
            free += 1
        else:
            changed.append(layer)
    return changed


def _tapped_itself(layer: Layer, cotangents_id: int) -> Layer:
    labels = {
        f"parameter{axis}": size
        for axis, size in enumerate(layer.leaf.shape)
        if size > 1
    }
    use = Use(
        rule="tangents",
        tap=layer.leaf.variable,
        value=tuple(labels),
        parameter=tuple(labels),
        sizes=labels,
    )
    stack = Stack(uses=(use,), cotangents_id=cotangents_id)
    return dataclasses.replace(
        layer, stacks=(stack,), by_tangents=True, absent=(), later=None
    )
