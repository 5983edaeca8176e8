"""The Jacobians of a weight and of its bias as one product.

A bias is a weight of an entry that is always one,

    [J_weight, J_bias] = C [A, 1],

so that with a one after every window the product that forms the Jacobian of a weight
forms that of its bias as well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from ntkplan.ir.statements import Array, Contract, Cut, Reduce, Statement
from ntkplan.methods.candidate import Candidate, Method

_COLUMN = "column"
"""The label of windows and features, with the one after them."""


def joined(weight: Candidate, bias: Candidate) -> Candidate | None:
    """Returns what computes the parts of both leaves together, if they can be joined.

    They can where the Jacobian of the one is a product of cotangents and windows, and
    that of the other the sum of the same cotangents over the same positions.

    Args:
        weight: The candidate of a leaf.
        bias: That of another.
    """
    sums = _sums_of(bias)
    cuts = {item.target.name: item for item in _cuts(weight)}
    products = [item for item in weight.statements if isinstance(item, Contract)]
    jacobians = [item for item in products if item.is_jacobian]
    counts = (len(cuts), len(jacobians), len(products), len(weight.statements))
    if not sums or not _is_plain(weight) or counts != (2, 2, 3, 5):
        return None
    inner: dict[str, int] = {}
    for jacobian in jacobians:
        found = _inner(jacobian, cuts, sums)
        if found is None:
            return None
        inner |= found
    return dataclasses.replace(
        weight,
        statements=tuple(_with_one(item, inner) for item in weight.statements),
    )


def cotangents_summed(candidate: Candidate) -> frozenset[str]:
    """Returns the names of the cotangents whose sums are a candidate's Jacobians."""
    return frozenset(_sums_of(candidate))


def given_to(candidate: Candidate) -> frozenset[str]:
    """Returns the names of the arrays that a candidate's statements read."""
    return frozenset(
        array.name for item in candidate.statements for array in item.sources
    )


def windows_cut(candidate: Candidate) -> frozenset[str]:
    """Returns the names of the windows that a candidate cuts."""
    return frozenset(item.target.name for item in _cuts(candidate))


def _cuts(candidate: Candidate) -> list[Cut]:
    return [
        item
        for item in candidate.statements
        if isinstance(item, Cut) and not item.takes_entries
    ]


def _is_plain(candidate: Candidate) -> bool:
    """Says whether a candidate contracts Jacobians, neither scaled nor in a loop."""
    return (
        candidate.method is Method.JACOBIAN_CONTRACTION
        and candidate.loop == 1
        and not candidate.later
        and [factor for _, factor in candidate.results] == [1.0]
    )


def _sums_of(bias: Candidate) -> Mapping[str, Reduce]:
    """Returns the Jacobians of a leaf by the cotangents of which they are the sums."""
    sums = {
        item.source.name: item for item in bias.statements if isinstance(item, Reduce)
    }
    rest = [item for item in bias.statements if isinstance(item, Contract)]
    plain = _is_plain(bias) and (len(sums), len(rest)) == (2, 1)
    return sums if plain and len(bias.statements) == 3 else {}


def _inner(
    product: Contract, cuts: Mapping[str, Cut], sums: Mapping[str, Reduce]
) -> dict[str, int] | None:
    """Returns the labels of windows and features, which cotangents have not.

    None where the windows are no matrix of positions, or the positions not those over
    which the bias sums.
    """
    arrays = (product.left, product.right)
    windows = [array for array in arrays if array.name in cuts]
    cotangents = [array for array in arrays if array.name in sums]
    if len(windows) != 1 or len(cotangents) != 1 or product.entrywise:
        return None
    cut, total = cuts[windows[0].name], sums[cotangents[0].name]
    if _axes_left_out(cotangents[0], product.target) != _axes_left_out(
        total.source, total.target
    ):
        return None
    labels = cut.target.labels
    sizes = dict(zip(labels[cut.n_kept :], cut.shape, strict=True))
    inner = {x: size for x, size in sizes.items() if x not in cotangents[0].labels}
    rank = len(cut.patches.window)
    whole = math.prod(inner.values()) == math.prod(cut.windows_shape[-rank - 1 :])
    last = labels[len(labels) - len(inner) :] == tuple(inner)
    return inner if whole and last else None


def _axes_left_out(source: Array, target: Array) -> list[int]:
    labels = source.labels
    return [axis for axis, label in enumerate(labels) if label not in target.labels]


def _with_one(item: Statement, inner: Mapping[str, int]) -> Statement:
    """Returns a statement with one axis for windows and features, and a one after them.

    Args:
        item: A statement of the weight.
        inner: Lengths of the axes that become one.
    """

    def change(array: Array) -> Array:
        if inner.keys().isdisjoint(array.labels):
            return array
        kept = tuple(label for label in array.labels if label not in inner)
        return dataclasses.replace(array, labels=(*kept, _COLUMN))

    if not isinstance(item, Cut):
        return item.over(change)
    positions = item.shape[: len(item.shape) - len(inner)]
    return dataclasses.replace(
        item,
        target=change(item.target),
        shape=(*positions, math.prod(inner.values()) + 1),
        with_one=True,
    )
