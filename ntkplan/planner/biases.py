"""Biases that are computed with their weights, as weights of what is always one.

Apart from a product with windows a bias needs sums over the same positions. What they
are sums of has to be held for them: XLA's CPU compiler, told to hold as little as it
can, leaves sums to the end. With a one after every window (`ntkplan.methods.affine`)
nothing is held for the bias, and there is less to compile. Libraries for GPUs want
lengths that are multiples of four or more; there biases stay apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container

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
    found = _biases(chosen)
    taken = list(chosen.decision.chosen)
    for bias, (_, item) in found.items():
        taken[bias] = item
    decision = dataclasses.replace(
        chosen.decision,
        chosen=tuple(taken),
        biases={bias: weight for bias, (weight, _) in found.items()},
    )
    return dataclasses.replace(chosen, decision=decision)


def with_bias(
    candidate: Candidate, number: int, chosen: Chosen
) -> tuple[Candidate, int | None]:
    """Returns what computes a leaf's part and that of its bias, if it has one.

    Args:
        candidate: What computes that of the leaf.
        number: Of the leaf.
        chosen: What was chosen for all.

    Returns:
        What computes them, and the number of the bias.

    Raises:
        InternalError: The bias is none of this leaf.
    """
    of_weights = {weight: bias for bias, weight in chosen.decision.biases.items()}
    bias = of_weights.get(number)
    if bias is None:
        return candidate, None
    joined = _joined(candidate, chosen.layers, number, bias)
    if joined is None:
        raise InternalError("a bias that is none of its weight", candidate)
    return joined, bias


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


def _biases(chosen: Chosen) -> dict[int, tuple[int, Priced]]:
    """Returns the numbers of biases, those of their weights, and what they take."""
    found: dict[int, tuple[int, Priced]] = {}
    users: dict[str, set[int]] = {}
    for number, item in enumerate(chosen.decision.chosen):
        windows = affine.windows_cut(item.candidate)
        for name in windows:
            users.setdefault(name, set()).add(number)
        if windows and (bias := _bias_of(chosen, number, found)):
            other, taken = bias
            found[other] = (number, taken)
    # Windows that some leaf needs as they are would be cut twice.
    joined = {weight for weight, _ in found.values()}
    apart = {number for each in users.values() if not each <= joined for number in each}
    return {bias: taken for bias, taken in found.items() if taken[0] not in apart}


def _bias_of(
    chosen: Chosen, weight: int, found: Container[int]
) -> tuple[int, Priced] | None:
    """Returns the number of a weight's bias, unless found, and what it takes."""
    candidate = chosen.decision.chosen[weight].candidate
    for bias in range(len(chosen.layers)):
        if bias == weight or bias in found:
            continue
        if _joined(candidate, chosen.layers, weight, bias) is None:
            continue
        if alike := _alike(chosen, bias, weight):
            return bias, alike
    return None
