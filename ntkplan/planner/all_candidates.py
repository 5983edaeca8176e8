"""Every candidate of every layer, made once for layers that are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan.ir.use import Layer, Stack
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame, input_name
from ntkplan.methods.table import METHODS


def all_candidates(
    layers: Sequence[Layer],
    frame: Frame,
    itemsize: int,
    ready: Mapping[Layer, tuple[Candidate, ...]],
) -> tuple[tuple[Candidate, ...], ...]:
    """Makes candidates once for all layers of one form; blocks of a model repeat.

    Args:
        layers: The layers.
        frame: Labels that all of them share.
        itemsize: Bytes of one number.
        ready: Layers whose candidates are known.
    """
    made: dict[object, tuple[Layer, tuple[Candidate, ...]]] = {}
    found: list[tuple[Candidate, ...]] = []
    for layer in layers:
        if layer in ready:
            found.append(ready[layer])
            continue
        form = _form(layer)
        if form not in made:
            candidates = _candidates(layer, frame, itemsize)
            made[form] = (layer, candidates)
            found.append(candidates)
            continue
        first, candidates = made[form]
        names = dict(zip(given_names(first), given_names(layer), strict=True))
        found.append(tuple(candidate.renamed(names) for candidate in candidates))
    return tuple(found)


def _candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Makes the candidates of a layer, those that are tapped later last."""

    def made(layer: Layer) -> list[Candidate]:
        return [
            candidate
            for rule in METHODS.values()
            for candidate in rule(layer, frame, itemsize)
        ]

    later = [] if layer.later is None else made(layer.later)
    return (
        *made(layer),
        *(
            candidate.tapped_later()
            for candidate in later
            if candidate.method is not Method.NTK_VECTOR_PRODUCTS
        ),
    )


def stacks_of(layer: Layer) -> tuple[Stack, ...]:
    """Returns the stacks of a layer and of what it is when it is tapped later."""
    return (*layer.stacks, *(layer.later.stacks if layer.later else ()))


def _form(layer: Layer) -> object:
    """Returns what two layers share whose candidates are the same but for names."""
    ids: dict[tuple[str, int], int] = {}

    def numbered(kind: str, array_id: int) -> int:
        return ids.setdefault((kind, array_id), len(ids))

    return (
        layer.opaque is None,
        layer.by_tangents,
        layer.no_forward is None,
        len(layer.stacks),
        tuple(
            (
                stack.first.form,
                stack.first.patches,
                stack.first.steps,
                stack.recorded_shape,
                len(stack.uses),
                tuple(numbered(*each) for each in _arrays(stack)),
                tuple(
                    len(stack.factor_variables(number)) > 1
                    for number in range(len(stack.factor_ids))
                ),
            )
            for stack in stacks_of(layer)
        ),
    )


def _arrays(stack: Stack) -> list[tuple[str, int]]:
    """Returns kind and number of the arrays that the kernel function is given."""
    use = stack.first
    return [
        ("cotangents", stack.cotangents_id),
        ("factors" if use.shared else "activations", stack.activations_id),
        ("windows", stack.activations_id),
        *(
            ("factors" if factor.shared else "activations", factor_id)
            for factor, factor_id in zip(use.factors, stack.factor_ids, strict=True)
        ),
    ]


def given_names(layer: Layer) -> list[str]:
    """Returns the names of all arrays that statements of a layer may be given."""
    return [
        input_name(kind, number, side)
        for stack in stacks_of(layer)
        for kind, number in _arrays(stack)
        for side in (0, 1)
    ]
