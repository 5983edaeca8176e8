"""Half of a symmetric kernel: blocks of rows that end at the diagonal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ntkplan.cost.work import Operation, OperationKind, Work
from ntkplan.planner.candidates import Priced, price_chosen
from ntkplan.planner.choose import bytes_alive
from ntkplan.planner.division import Decision
from ntkplan.planner.held import held_bytes
from ntkplan.planner.problem import Problem
from ntkplan.planner.select import total_seconds

_BLOCKS = 2

# Blocks are further products, to compile and to launch; they are taken where the kernel
# as a whole is expected to gain this. Smaller gains were none when they were measured.
_LEAST_GAIN = 1.07


def halved(
    problem: Problem,
    decision: Decision,
    limit_bytes: float,
    *,
    wherever_possible: bool = False,
) -> Decision:
    """Returns a decision in blocks as far as the diagonal, where that pays and fits.

    What is made of one side alone (a Jacobian) is made anew in every block. So it pays
    where products of both sides are most of the work.

    Args:
        problem: The kernel.
        decision: What was chosen for it, all at once.
        limit_bytes: What the kernel may need at once.
        wherever_possible: Whether to do so even where nothing is expected of it.
    """
    least_gain = 0.0 if wherever_possible else _LEAST_GAIN
    cost = decision.cost
    own = cost.contraction_seconds
    hopeful = cost.seconds / (cost.seconds - 0.5 * own) >= least_gain
    if not problem.symmetric or problem.spec.matched or not hopeful:
        return decision
    if problem.n1 < 2 * _BLOCKS:
        return decision
    contraction, own_bytes = _blocks(problem, decision.chosen)
    seconds = cost.seconds - own + contraction
    if seconds * least_gain >= cost.seconds:
        return decision
    peak_bytes = bytes_alive(problem, decision, own_bytes, in_turn=cost.in_turn)
    if peak_bytes > limit_bytes:
        return decision
    return dataclasses.replace(
        decision,
        lower_blocks=_BLOCKS,
        cost=dataclasses.replace(
            cost,
            seconds=seconds,
            contraction_seconds=contraction,
            peak_bytes=peak_bytes,
        ),
    )


def block_starts(n1: int) -> range:
    """Returns the first rows of the blocks."""
    return range(0, n1, -(-n1 // _BLOCKS))


def _blocks(problem: Problem, chosen: Sequence[Priced]) -> tuple[float, list[float]]:
    """Prices the blocks, and putting them together with their mirror images.

    Returns:
        Seconds, and the most bytes alive at once for each candidate's own part. Blocks
        do not wait for each other unless they take turns, so each of them may hold what
        it needs most.
    """
    total, own_bytes = 0.0, [0.0] * len(chosen)
    starts = block_starts(problem.n1)
    for start, end in zip(starts, (*starts[1:], problem.n1), strict=True):
        rows = end - start
        block = dataclasses.replace(problem, n1=rows, n2=start + rows, symmetric=False)
        priced = price_chosen(block, chosen)
        total += total_seconds(priced)
        for number, item in enumerate(priced):
            beside = 0.0 if problem.computes_in_turn else own_bytes[number]
            own_bytes[number] = max(own_bytes[number], beside + item.peak_bytes)
    kernel_bytes = held_bytes(problem, ()).kernel_bytes
    copies = Operation(
        kind=OperationKind.TRANSPOSE,
        bytes_read=math.ceil(3 * kernel_bytes),
        bytes_written_fresh=math.ceil(2 * kernel_bytes),
    )
    return total + problem.seconds(Work(operations=(copies,))), own_bytes
