"""What a plan says below its table: tiles, halves, estimates."""

from __future__ import annotations

from ntkplan.errors import readable_bytes
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.quantities import counted
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.rules.equation_work import GUESSED, estimated


def notes(problem: Problem, decision: Decision) -> tuple[str, ...]:
    """Says what is to be known of a decision beside its figures."""
    limit_bytes = decision.cost.memory_limit_bytes
    return (
        *tiling_notes(decision, problem.spec, limit_bytes),
        *_of_halves(decision.lower_blocks),
        *precision_notes(problem.precision),
        *_of_estimates(problem.study.graph),
        *search_notes(decision),
    )


def tiling_notes(
    decision: Decision, spec: KernelSpec, limit_bytes: float
) -> tuple[str, ...]:
    """Says how a kernel is computed tile by tile, and why."""
    tiling = decision.tiling
    if tiling is None:
        return ()
    if spec.matched:
        pairs = counted(tiling.rows, "pair of examples", "pairs of examples")
        text = f"{pairs} at a time"
    else:
        text = f"in tiles of {tiling.rows} x {tiling.columns} examples"
    if tiling.outputs is not None:
        text += f" and {counted(tiling.outputs, 'output')}"
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
    text += f"; activations and cotangents are {kept}"
    if tiling.mirrors:
        text += "; without x2 tiles above the diagonal are mirror images"
    return (text,)


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
    """Names the primitives whose work no rule counts, and says what is taken for it."""
    names = {name for item in graph.body.equations for name in estimated(item)}
    guessed, bounded = sorted(names & GUESSED), sorted(names - GUESSED)
    found: list[str] = []
    if bounded:
        found.append(
            f"the work of {', '.join(bounded)} is an upper estimate: no rule counts it"
        )
    if guessed:
        found.append(
            f"the work of {', '.join(guessed)} is a guess that may be far too low: "
            "nobody knows beforehand what it does, or how often"
        )
    return tuple(found)


def search_notes(decision: Decision) -> tuple[str, ...]:
    """Says where not all that there is to choose from was compared."""
    if decision.tiling is not None:
        return (
            "of the tiles only those by halving were compared, and of the ways to "
            "divide the leaves in them only all tapped and all pushed",
        )
    if decision.exhaustive:
        return ()
    return (
        "of the divisions into cotangents and NTK-vector products only the likely were "
        "compared",
    )
