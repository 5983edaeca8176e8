"""Batched products that the device computes faster as products and sums of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ntkplan.cost.formulas import is_entrywise
from ntkplan.cost.symbols import Size, evaluate
from ntkplan.cost.work import Work
from ntkplan.ir.program import Tiling
from ntkplan.ir.statements import Contract, Statement
from ntkplan.ir.use import Layer
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, statement_operations
from ntkplan.planner.problem import Problem

_EXACT = ("float32", "float64")


def entrywise(
    problem: Problem, layer: Layer, candidate: Candidate, tiling: Tiling | None
) -> Candidate:
    """Marks the products of a chosen candidate that are to be printed entry by entry.

    They are those that were priced so; without rates for it in the device's profile
    there are none.

    Args:
        problem: What was asked for.
        layer: The layer whose taps and records the candidate reads.
        candidate: What was chosen for it.
        tiling: How the kernel is computed tile by tile, or None for all at once.
    """
    if not any(rate.entrywise_flops_per_s for rate in problem.profile.rates):
        return candidate
    if problem.study.dtype not in _EXACT:
        return candidate
    sizes = network.label_sizes(layer, problem.study.frame)
    numbers = {
        "n1": tiling.rows if tiling else problem.n1,
        "n2": tiling.columns if tiling else problem.n2,
        "n_outputs": (tiling and tiling.outputs) or problem.n_basis,
    }
    statements = tuple(
        dataclasses.replace(item, entrywise=True)
        if isinstance(item, Contract) and _is_entrywise(problem, item, sizes, numbers)
        else item
        for item in candidate.statements
    )
    return dataclasses.replace(candidate, statements=statements)


def _is_entrywise(
    problem: Problem,
    statement: Statement,
    sizes: Mapping[str, Size],
    numbers: Mapping[str, int],
) -> bool:
    operations = statement_operations(statement, sizes, problem.study.itemsize)
    own = tuple(item for item in operations if item.entrywise)
    if not own:
        return False
    (work,) = evaluate([Work(operations=own)], **numbers)
    return is_entrywise(
        work.operations[0],
        problem.profile,
        dtype=problem.study.dtype,
        precision=problem.precision,
    )
