"""What a plan says below its table: tiles, halves, estimates."""

from __future__ import annotations

from ntkplan.errors import readable_bytes
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.rules.equation_work import is_estimate


def notes(problem: Problem, decision: Decision) -> tuple[str, ...]:
    """Says what is to be known of a decision beside its figures."""
    limit_bytes = decision.cost.memory_limit_bytes
    return (
        *tiling_notes(decision, problem.spec, limit_bytes),
        *_of_halves(decision.lower_blocks),
        *precision_notes(problem.precision),
        *_of_estimates(problem.study.graph),
        *_of_search(decision.exhaustive),
    )


def tiling_notes(
    decision: Decision, spec: KernelSpec, limit_bytes: float
) -> tuple[str, ...]:
    """Says how a kernel is computed tile by tile, and why."""
    tiling = decision.tiling
    if tiling is None:
        return ()
    if spec.matched:
        text = f"{tiling.rows} pairs of examples at a time"
    else:
        text = f"in tiles of {tiling.rows} x {tiling.columns} examples"
    if tiling.outputs is not None:
        text += f" and {tiling.outputs} outputs"
    text += f", to fit {readable_bytes(limit_bytes)}"
    if spec.matched:
        return (text,)
    if all(item.pushed for item in decision.chosen):
        return (f"{text}; the model is linearised again for every row of tiles",)
    kept = (
        "kept for all examples of x2"
        if tiling.keeps
        else "computed again for every row of tiles"
    )
    return (f"{text}; activations and cotangents are {kept}",)


def _of_halves(lower_blocks: int) -> tuple[str, ...]:
    """Says that half of a symmetric kernel is computed, where it is."""
    if lower_blocks == 1:
        return ()
    return (
        f"symmetric: {lower_blocks} blocks of rows, each as far as the diagonal; the "
        "leaves' figures are those of the whole",
    )


def precision_notes(precision: str | None) -> tuple[str, ...]:
    """Says at which precision products are made, where that is not the platform's."""
    if precision is None:
        return ()
    return (f"products, the model's own among them, at {precision} precision",)


def _of_estimates(graph: KernelGraph) -> tuple[str, ...]:
    """Names the equations whose work no rule counts."""
    names = sorted(
        {item.primitive.name for item in graph.body.equations if is_estimate(item)}
    )
    if not names:
        return ()
    return (f"the work of {', '.join(names)} is an upper estimate: no rule counts it",)


def _of_search(exhaustive: bool) -> tuple[str, ...]:
    """Says where not all sets were compared."""
    if exhaustive:
        return ()
    return (
        "of the ways to divide the leaves into tapped and pushed ones only the likely "
        "were compared",
    )
