"""How a CPU computes activations and cotangents of the two sides of a kernel."""

from __future__ import annotations

from ntkplan._jax import Var, constrains_layouts
from ntkplan.cost.profile import Platform
from ntkplan.planner.candidates import tapped_layers
from ntkplan.planner.moved import entries
from ntkplan.planner.uncut import Chosen

# Both sides in one sweep are compiled sooner, those of transformers above all, but are
# cut apart afterwards: where calls take this long, that is not worth it.
_WORTH_TWO_SWEEPS_S = 0.1


def ordered_taps(chosen: Chosen) -> frozenset[Var] | None:
    """Returns taps whose cotangents' axes the compiler is told to keep in order.

    Left to itself it has them as suits the sweep, and every product copies them. Of a
    tap whose cotangent is another's entry by entry nothing is held before it is read.

    Args:
        chosen: What was chosen.

    Returns:
        Those that have cotangents of their own; None where it is told nothing.
    """
    if not _may_be_copied(chosen) or not constrains_layouts():
        return None
    tapped = tapped_layers(chosen.layers, chosen.decision.chosen)
    bases = chosen.problem.study.moved(tapped).base_of
    return frozenset(tap for tap, base in bases.items() if tap is base)


def joins_sides(chosen: Chosen) -> bool:
    """Says whether one sweep is for the examples of both sides together.

    Args:
        chosen: What was chosen.
    """
    problem = chosen.problem
    if problem.symmetric or problem.spec.whole_batch:
        return False
    quick = chosen.decision.cost.seconds < _WORTH_TWO_SWEEPS_S
    return quick and _may_be_copied(chosen)


def _may_be_copied(chosen: Chosen) -> bool:
    """Says whether this is a CPU whose memory has room for cotangents twice."""
    problem, decision = chosen.problem, chosen.decision
    if problem.profile.platform is not Platform.CPU or decision.tiling is not None:
        return False
    tapped = tapped_layers(chosen.layers, decision.chosen)
    taps = {tap for layer in tapped for tap in layer.taps}
    columns_bytes = problem.study.itemsize * sum(map(entries, taps))
    copies_bytes = columns_bytes * problem.n_points * problem.n_basis
    return decision.cost.peak_bytes + copies_bytes <= chosen.limit_bytes
