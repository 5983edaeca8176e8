"""Whether a compiler is told in which order to keep the axes of cotangents."""

from __future__ import annotations

from ntkplan._jax import constrains_layouts
from ntkplan.cost.profile import Platform
from ntkplan.planner.moved import entries
from ntkplan.planner.uncut import Chosen


def orders_axes(chosen: Chosen) -> bool:
    """Says whether to, which is for CPUs alone and where memory allows a second copy.

    The compiler may copy a cotangent to give it its layout, while the sweep still reads
    it in another.

    Args:
        chosen: What was chosen.
    """
    problem, decision = chosen.problem, chosen.decision
    if problem.profile.platform is not Platform.CPU or decision.tiling is not None:
        return False
    tapped = [
        item.candidate.layer_of(layer)
        for layer, item in zip(chosen.layers, decision.chosen, strict=True)
        if not item.pushed
    ]
    taps = {tap for layer in tapped for tap in layer.taps}
    columns = problem.study.itemsize * sum(map(entries, taps))
    copies_bytes = columns * problem.n_points * problem.n_basis
    if decision.cost.peak_bytes + copies_bytes > chosen.limit_bytes:
        return False
    return constrains_layouts()
