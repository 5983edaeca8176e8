"""Whether convolutions are printed so that their derivatives are quick in loops."""

from __future__ import annotations

from ntkplan.planner.uncut import Chosen
from ntkplan.rules.work.loops import LOOPS


def turns_kernels(chosen: Chosen) -> bool:
    """Says whether a CPU takes derivatives of convolutions in loops, backward alone.

    Loops are those over tiles, and the model's own. Where tangents are pushed forward
    convolutions stay as they are: what is printed for them has no forward mode.

    Args:
        chosen: What was chosen.
    """
    problem, decision = chosen.problem, chosen.decision
    if not problem.convolves_on_cpu:
        return False
    if any(item.pushed for item in decision.chosen):
        return False
    if any(layer.by_tangents for layer in chosen.layers):
        return False
    loops = any(item.primitive in LOOPS for item in problem.study.graph.body.equations)
    return loops or decision.tiling is not None
