"""The peak of a whole kernel as a formula in the numbers of examples and outputs.

Tiles, and which of a leaf's products are products with a vector, are those of the plan.
"""

from __future__ import annotations

from typing import Any

import sympy

from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size, most, product, total
from ntkplan.cost.work import Operation, OperationKind, Work
from ntkplan.planner.candidates import Priced
from ntkplan.planner.halves import block_starts
from ntkplan.planner.held import Counts, shared_sizes
from ntkplan.planner.liveness import most_alive, turns_of
from ntkplan.planner.merged import merged_sizes
from ntkplan.planner.problem import Problem
from ntkplan.planner.tiles import Tiles, tile_of
from ntkplan.planner.uncut import Chosen


def peak_formula(chosen: Chosen) -> Size:
    """Writes the most bytes that a kernel has alive at once in symbols.

    Args:
        chosen: What was asked for and what was chosen.

    Returns:
        The formula; at the plan's own sizes it is `cost.peak_bytes`.
    """
    problem, decision = chosen.problem, chosen.decision
    counts = Counts.of(problem, symbolic=True)
    own = [_own(chosen, item) for item in decision.chosen]
    if decision.tiling is None:
        own = list(map(total, own, merged_sizes(problem, decision.chosen)))
    turns, pushed = turns_of(chosen.layers, decision.chosen, own)
    if not decision.cost.in_turn:
        return most(*most_alive(problem, turns, pushed, counts))
    tapped = [turn.layer for turn in turns]
    if decision.tiling is not None:
        tiles = Tiles(problem, tile_of(problem, decision.tiling), decision.tiling)
        resident, passes = tiles.sizes(tapped, pushed, counts)
    else:
        resident, passes = shared_sizes(problem, tapped, pushed, counts)
    return most(passes, *(total(resident, turn.own) for turn in turns))


def _own(chosen: Chosen, item: Priced) -> Size:
    """Returns what a leaf's own part needs."""
    problem, decision = chosen.problem, chosen.decision
    if decision.tiling is not None:
        return int(item.peak_bytes)
    candidate = item.candidate
    if decision.lower_blocks == 1:
        work = candidate.symmetric_work if problem.symmetric else candidate.work
        return _bytes(problem, work)
    size = sympy.ceiling(symbols.n1 / sympy.Integer(decision.lower_blocks))
    each = _bytes(problem, candidate.work)
    blocks: list[Size] = []
    for number, _ in enumerate(block_starts(problem.n1)):
        end = sympy.Min(symbols.n1, (number + 1) * size)
        rows = total(end, product(-number, size))
        blocks.append(_replaced(each, {symbols.n1: rows, symbols.n2: end}))
    return most(*blocks) if problem.computes_in_turn else total(*blocks)


def _replaced(size: Size, values: dict[Any, Any]) -> Any:
    return size if isinstance(size, int) else size.xreplace(values)


def _bytes(problem: Problem, work: Work) -> Size:
    """Returns the bytes of a candidate's work, with what libraries pack."""
    columns = problem.profile.memory.packed_columns
    packed = [
        product(
            problem.study.itemsize,
            operation.batch,
            _at_most(operation.n, columns),
            operation.k,
        )
        for operation in work.operations
        if _packs(problem, operation)
    ]
    fuses = problem.profile.fuses_products
    alive = work.uncopied_peak_bytes if fuses else work.peak_bytes
    return total(alive, most(*packed))


def _packs(problem: Problem, operation: Operation) -> bool:
    """Says whether a library packs an operand, see `ntkplan.planner.forms`."""
    products = (OperationKind.DOT, OperationKind.BATCHED_DOT)
    if operation.kind not in products or operation.transposed:
        return False
    at_plan = {
        symbols.n1: problem.n1,
        symbols.n2: problem.n2,
        symbols.n_outputs: problem.n_basis,
    }
    return all(_replaced(size, at_plan) != 1 for size in (operation.m, operation.n))


def _at_most(size: Size, limit: int) -> Size:
    return min(size, limit) if isinstance(size, int) else sympy.Min(size, limit)
