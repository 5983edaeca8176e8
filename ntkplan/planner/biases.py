"""Biases whose Jacobians are columns of those of their weights.

Beside a product with windows a bias needs the sum of the same cotangents. Summed apart,
these have to be held for it: XLA's CPU compiler, told to hold as little as it can,
leaves sums to the end. As one more column of the windows (`ntkplan.methods.affine`) the
bias has nothing held, and there is less to compile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ntkplan.ir.statements import Contract
from ntkplan.methods import affine
from ntkplan.methods.candidate import Candidate
from ntkplan.planner.candidates import Priced
from ntkplan.planner.entrywise import entrywise
from ntkplan.planner.uncut import Chosen


def with_columns(chosen: Chosen) -> Chosen:
    """Returns a choice in which biases are columns of their weights, where they may be.

    A bias takes the candidate that computes the very same by way of its Jacobian, where
    the user allows that.

    Args:
        chosen: What was chosen.
    """
    if not chosen.problem.convolves_on_cpu:
        return chosen
    decision = chosen.decision
    taken = tuple(map(_by_jacobian, decision.chosen, chosen.priced))
    columns = {
        bias: weight
        for bias, weight in _columns([item.candidate for item in taken]).items()
        if not _is_entrywise(chosen, weight)
    }
    kept = (
        new if number in columns else old
        for number, (new, old) in enumerate(zip(taken, decision.chosen, strict=True))
    )
    return dataclasses.replace(
        chosen,
        decision=dataclasses.replace(decision, chosen=tuple(kept), columns=columns),
    )


def _is_entrywise(chosen: Chosen, number: int) -> bool:
    """Says whether a leaf has products that are printed entry by entry."""
    layer, item = chosen.layers[number], chosen.decision.chosen[number]
    tiling = chosen.decision.tiling
    marked = entrywise(chosen.problem, layer, item.candidate, tiling)
    return any(
        isinstance(each, Contract) and each.entrywise for each in marked.statements
    )


def _by_jacobian(item: Priced, others: Sequence[Priced]) -> Priced:
    """Returns the candidate that computes the same, by way of the Jacobian, if any."""
    same = (
        other
        for other in others
        if other.allowed
        and other.keys == item.keys
        and affine.cotangents_summed(other.candidate)
    )
    return next(same, item)


def _columns(chosen: Sequence[Candidate]) -> Mapping[int, int]:
    """Returns the numbers of biases, and those of their weights."""
    biases = {
        number: names
        for number, candidate in enumerate(chosen)
        if (names := affine.cotangents_summed(candidate))
    }
    found: dict[int, int] = {}
    users: dict[str, set[int]] = {}
    for number, weight in enumerate(chosen):
        windows = affine.windows_cut(weight)
        for name in windows:
            users.setdefault(name, set()).add(number)
        fitting = (
            bias
            for bias, names in biases.items()
            if windows and bias not in found and names <= affine.given_to(weight)
            if affine.joined(weight, chosen[bias]) is not None
        )
        bias = next(fitting, None)
        if bias is not None:
            found[bias] = number
    # Windows that some leaf needs as they are would be cut twice.
    joined = set(found.values())
    apart = {number for each in users.values() if not each <= joined for number in each}
    return {bias: weight for bias, weight in found.items() if weight not in apart}
