"""Biases that are computed with their weights, as weights of what is always one.

Apart from a product with windows a bias needs sums over the same positions. What they
are sums of has to be held for them: XLA's CPU compiler, told to hold as little as it
can, leaves sums to the end. With a one after every window (`ntkplan.methods.affine`)
nothing is held for the bias, and there is less to compile. Libraries for GPUs want
lengths that are multiples of four or more; there biases stay apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ntkplan.errors import InternalError
from ntkplan.ir.use import Layer
from ntkplan.methods import affine
from ntkplan.methods.candidate import Candidate
from ntkplan.planner.candidates import Priced
from ntkplan.planner.uncut import Chosen


def with_biases(chosen: Chosen) -> Chosen:
    """Returns a choice in which biases are computed with their weights.

    That is where a weight needs windows, on a CPU, and where the bias may have the
    method of the weight.

    Args:
        chosen: What was chosen.
    """
    if not chosen.problem.convolves_on_cpu:
        return chosen
    biases = _biases(chosen)
    taken = list(chosen.decision.chosen)
    for bias, weight in biases.items():
        taken[bias] = _alike(chosen, bias, weight) or taken[bias]
    decision = dataclasses.replace(chosen.decision, chosen=tuple(taken), biases=biases)
    return dataclasses.replace(chosen, decision=decision)


def with_bias(
    candidate: Candidate, number: int, chosen: Chosen
) -> tuple[Candidate, tuple[int, ...]]:
    """Returns what computes a leaf's part and that of its bias, if it has one.

    Args:
        candidate: What computes that of the leaf.
        number: Of the leaf.
        chosen: What was chosen for all.

    Returns:
        What computes them, and the numbers of the leaves beside this one.
    """
    for bias, weight in chosen.decision.biases.items():
        if weight != number:
            continue
        joined = _joined(candidate, chosen.layers, weight, bias)
        if joined is None:
            raise InternalError("a bias that is none of its weight", candidate)
        return joined, (bias,)
    return candidate, ()


def _joined(
    candidate: Candidate, layers: tuple[Layer, ...], weight: int, bias: int
) -> Candidate | None:
    layer, other = (candidate.layer_of(layers[number]) for number in (weight, bias))
    return affine.with_bias(candidate, layer, other)


def _alike(chosen: Chosen, bias: int, weight: int) -> Priced | None:
    """Returns the candidate of a bias that has its weight's method, where it may.

    It is what was chosen, or what computes the very same by another name.
    """
    item = chosen.decision.chosen[bias]
    method = chosen.decision.chosen[weight].candidate.method
    if item.pushed or item.candidate.method is method:
        return None if item.pushed else item
    allowed = (other for other in chosen.priced[bias] if other.allowed)
    own = (other for other in allowed if other.candidate.method is method)
    return next((other for other in own if other.keys == item.keys), None)


def _biases(chosen: Chosen) -> Mapping[int, int]:
    """Returns the numbers of biases, and those of their weights."""
    found: dict[int, int] = {}
    users: dict[str, set[int]] = {}
    for number, item in enumerate(chosen.decision.chosen):
        windows = affine.windows_cut(item.candidate)
        for name in windows:
            users.setdefault(name, set()).add(number)
        fitting = (
            other
            for other in range(len(chosen.layers))
            if windows and other != number and other not in found
            if _joined(item.candidate, chosen.layers, number, other) is not None
            if _alike(chosen, other, number) is not None
        )
        bias = next(fitting, None)
        if bias is not None:
            found[bias] = number
    # Windows that some leaf needs as they are would be cut twice.
    joined = set(found.values())
    apart = {number for each in users.values() if not each <= joined for number in each}
    return {bias: weight for bias, weight in found.items() if weight not in apart}
