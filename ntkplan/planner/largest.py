"""The largest array of a kernel, which says in what blocks it may have its memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

from ntkplan.planner.candidates import Priced
from ntkplan.planner.held import Counts, held_bytes, pushed_bytes
from ntkplan.planner.liveness import lengths, turns_of
from ntkplan.planner.moved import entries, recorded_variables
from ntkplan.planner.problem import Problem


def largest_bytes(problem: Problem, chosen: Sequence[Priced]) -> float:
    """Returns the bytes of the largest array of a kernel that is computed all at once.

    Args:
        problem: The kernel.
        chosen: One candidate for each leaf.
    """
    return max(map(float, _arrays(problem, chosen)))


def _arrays(problem: Problem, chosen: Sequence[Priced]) -> Iterator[float]:
    """Yields bytes of arrays, of all kinds that there are."""
    turns, pushed = turns_of(problem.study.layers, chosen, [0] * len(chosen))
    layers = [turn.layer for turn in turns]
    moved = problem.study.moved(layers)
    both = problem.study.itemsize * problem.n_points
    yield held_bytes(problem, ()).kernel_bytes
    # All that the pushed leaves need, of which no array is more.
    yield pushed_bytes(problem, pushed)
    yield both * max(map(entries, recorded_variables(layers)), default=0)
    yield both * problem.n_basis * moved.of_pulled.most_entries
    yield both * moved.n_tangents * moved.of_pushed.most_entries
    counts = Counts.of(problem, symbolic=False)
    for turn in turns:
        sizes = cast("dict[str, int]", lengths(problem, turn.layer, counts))
        for _, statement in turn.candidate.keyed(symmetric=problem.symmetric):
            labels = statement.target.stored
            yield problem.study.itemsize * math.prod(sizes[each] for each in labels)
