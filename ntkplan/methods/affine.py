"""A weight and its bias contracted as one.

A bias is a weight of an activation that is always one: with a one after the features of
every window, whatever computes the part of the weight computes that of the bias too. In
a Jacobian it is one more column,

    [J_weight, J_bias] = C [A, 1],

and to a Gram of activations it adds one. Where weight and bias are scaled unlike, it is
what the bias is scaled by for every unit of the weight's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy

from ntkplan._jax import array_dtype
from ntkplan.ir.statements import Array, Cut, Statement
from ntkplan.ir.use import Factor, Layer, Use
from ntkplan.methods.candidate import Candidate

_ROUNDING = 1e-7
_COLUMN = "column"
"""The label of windows and features, with the one after them."""


def with_bias(candidate: Candidate, weight: Layer, bias: Layer) -> Candidate | None:
    """Returns what computes the parts of a weight and of its bias together.

    Args:
        candidate: What computes that of the weight.
        weight: The layer of the weight, as the candidate taps it.
        bias: Another leaf's, tapped likewise.

    Returns:
        None where the other leaf is no bias of the weight, or there are no windows.
    """
    inner = _features(weight, bias)
    cuts = _cuts(candidate)
    if inner is None or candidate.loop != 1 or len(cuts) != 2:
        return None
    others = (item for item in candidate.statements if not isinstance(item, Cut))
    arrays = [array for item in others for array in (*item.sources, item.target)]
    for array in (*arrays, *(item.target for item in cuts)):
        own = tuple(label for label in array.labels if label in inner)
        if own and (set(own) != set(inner) or array.hot or array.step is not None):
            return None
    if not all(_is_whole(item, inner) for item in cuts):
        return None
    scale = _scale(weight, bias)
    statements = tuple(_with_one(item, inner, scale) for item in candidate.statements)
    return dataclasses.replace(candidate, statements=statements)


def windows_cut(candidate: Candidate) -> frozenset[str]:
    """Returns the names of the windows that a candidate cuts."""
    return frozenset(item.target.name for item in _cuts(candidate))


def _cuts(candidate: Candidate) -> list[Cut]:
    return [
        item
        for item in candidate.statements
        if isinstance(item, Cut) and not item.takes_entries
    ]


def _features(weight: Layer, bias: Layer) -> dict[str, int] | None:
    """Returns the labels that a weight has and its bias has not, with their lengths.

    None where the two are otherwise not used alike.
    """
    if len(weight.stacks) != 1 or len(bias.stacks) != 1:
        return None
    (own,), (other,) = weight.stacks, bias.stacks
    use, plain = own.first, other.first
    if (
        (own.cotangents_id, own.factor_ids, len(own.uses))
        != (other.cotangents_id, other.factor_ids, len(other.uses))
        or use.value_crop != plain.value_crop
        or plain.recorded is not None
        or use.recorded is None
        or use.shared
        or not _is_exact(_scale(weight, bias), array_dtype(use.recorded))
    ):
        return None
    names = _names(use, plain)
    if names is None:
        return None
    inner = {
        label: use.sizes[label]
        for label in use.activations
        if label not in names.values()
    }
    kept = {names.get(label, label) for label in plain.parameter}
    if not inner or kept | set(inner) != set(use.parameter) or kept & set(inner):
        return None
    return inner


def _scale(weight: Layer, bias: Layer) -> float:
    """Returns what a bias is scaled by for every unit that its weight is scaled by."""
    own, other = (layer.stacks[0].first.factor for layer in (bias, weight))
    return own / other if other else math.inf


def _is_exact(number: float, dtype: numpy.dtype) -> bool:
    """Says whether a dtype holds a number, but for the rounding of single precision."""
    held = float(dtype.type(number))
    return math.isfinite(held) and math.isclose(held, number, rel_tol=_ROUNDING)


def _names(use: Use, plain: Use) -> dict[str, str] | None:
    """Returns the labels of a bias's cotangents and factors as its weight has them.

    None where they have other axes.
    """

    def axes(each: Use) -> list[tuple[str, ...]]:
        return [each.value, *(factor.labels for factor in each.factors)]

    def kind(factor: Factor) -> tuple[bool, str | None]:
        return factor.shared, factor.hot

    if list(map(kind, use.factors)) != list(map(kind, plain.factors)):
        return None
    if any(each.hot is not None or each.steps for each in (use, plain)):
        return None
    names: dict[str, str] = {}
    for ours, theirs in zip(axes(use), axes(plain), strict=True):
        if len(ours) != len(theirs):
            return None
        for label, name in zip(theirs, ours, strict=True):
            if names.setdefault(label, name) != name:
                return None
            if plain.sizes[label] != use.sizes[name]:
                return None
    return names if len(set(names.values())) == len(names) else None


def _is_whole(item: Cut, inner: Mapping[str, int]) -> bool:
    """Says whether the last axes of windows are these, and no others."""
    rank = len(item.patches.window)
    labels = item.target.labels
    return (
        labels[len(labels) - len(inner) :] == tuple(inner)
        and len(labels) == item.n_kept + len(item.shape)
        and math.prod(inner.values()) == math.prod(item.windows_shape[-rank - 1 :])
    )


def _with_one(item: Statement, inner: Mapping[str, int], scale: float) -> Statement:
    """Returns a statement with one axis for windows and features, and a one after them.

    Args:
        item: A statement of the weight.
        inner: Lengths of the axes that become one.
        scale: What stands for the one.
    """

    def change(array: Array) -> Array:
        if inner.keys().isdisjoint(array.labels):
            return array
        kept = [label for label in array.labels if label not in inner]
        kept.insert(
            next(n for n, label in enumerate(array.labels) if label in inner), _COLUMN
        )
        return dataclasses.replace(array, labels=tuple(kept))

    if not isinstance(item, Cut):
        return item.over(change)
    positions = item.shape[: len(item.shape) - len(inner)]
    return dataclasses.replace(
        item,
        target=change(item.target),
        shape=(*positions, math.prod(inner.values()) + 1),
        bias_scale=scale,
    )
