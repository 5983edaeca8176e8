"""One division of the leaves into tapped and pushed ones, priced as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence

from ntkplan.ir.plan import PlanCost
from ntkplan.ir.program import Tiling
from ntkplan.ir.use import Layer
from ntkplan.planner.candidates import Priced, tapped_layers
from ntkplan.planner.leaf_options import LeafOptions, Options
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.select import select
from ntkplan.planner.shared import SharedWork, Sharing


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What was chosen.

    Attributes:
        chosen: One candidate for every layer.
        own: What each adds, given those before it.
        shared: What they share.
        cost: Of the whole.
        tiling: How the kernel is computed tile by tile, or None for all at once.
        n_tiles: How often each leaf's part is computed; the parts are of one tile.
        lower_blocks: In how many blocks of rows, as far as the diagonal, the kernel is
            computed where `x2` is absent; 1 for all at once.
        exhaustive: Whether all divisions of the leaves were compared.
        made_alike: Numbers of the layers that have the order of others, nearly as quick
            as their own best.
        biases: Numbers of leaves that are computed with others, as their biases, and
            the numbers of these; none has two.
    """

    chosen: tuple[Priced, ...]
    own: tuple[Price, ...]
    shared: SharedWork
    cost: PlanCost
    tiling: Tiling | None = None
    n_tiles: int = 1
    lower_blocks: int = 1
    exhaustive: bool = True
    made_alike: frozenset[int] = frozenset()
    biases: Mapping[int, int] = dataclasses.field(default_factory=dict)


def decide(
    problem: Problem,
    sharing: Sharing,
    options: Sequence[LeafOptions],
    pushed: frozenset[int],
    limit_bytes: float,
) -> tuple[Decision | None, float]:
    """Prices one division.

    Args:
        problem: The sizes at which candidates are priced.
        sharing: Says what tapped and pushed layers share.
        options: What every layer may take.
        pushed: Numbers of the leaves that are pushed forward.
        limit_bytes: What the kernel may need at once.

    Returns:
        The decision, or None where it does not fit; and the least bytes it needs.
    """
    layers = problem.study.layers
    tapped, taken = divided(layers, pushed)
    fitting, least = fitting_options(sharing, layers, options, pushed, limit_bytes)
    if fitting is None:
        return None, least
    shared = sharing.work_of(tapped, taken)
    best: Decision | None = None
    needed = float("inf")
    for selected in _by_taps(layers, fitting):
        chosen = select(selected)
        together = _shared_by(problem, chosen, shared, sharing)
        found = _priced(problem, chosen, together, limit_bytes)
        needed = min(needed, found.cost.peak_bytes)
        if found.cost.peak_bytes <= limit_bytes and (
            best is None or found.cost.seconds < best.cost.seconds
        ):
            best = found
    return best, least if best else max(least, needed)


def redecided(
    problem: Problem,
    sharing: Sharing,
    decision: Decision,
    chosen: Sequence[Priced],
    limit_bytes: float,
) -> Decision:
    """Prices other candidates for the same division, whether they fit or not.

    Args:
        problem: The sizes at which candidates are priced.
        sharing: Says what tapped and pushed layers share.
        decision: What was chosen before.
        chosen: One for every layer, pushed where it was.
        limit_bytes: What the kernel may need at once.
    """
    pairs = zip(chosen, decision.chosen, strict=True)
    if all(new.candidate.later == old.candidate.later for new, old in pairs):
        return _priced(problem, chosen, decision.shared, limit_bytes)
    pushed = {number for number, item in enumerate(chosen) if item.pushed}
    shared = sharing.work_of(*divided(problem.study.layers, pushed))
    shared = _shared_by(problem, chosen, shared, sharing)
    return _priced(problem, chosen, shared, limit_bytes)


def _priced(
    problem: Problem, chosen: Sequence[Priced], shared: SharedWork, limit_bytes: float
) -> Decision:
    """Prices candidates as a whole, whether they fit or not."""
    own = _own(chosen)
    cost = _cost(problem, chosen, own, shared, limit_bytes)
    return Decision(chosen=tuple(chosen), own=own, shared=shared, cost=cost)


def divided(
    layers: Sequence[Layer], pushed: Container[int]
) -> tuple[list[Layer], list[Layer]]:
    """Returns the tapped and the pushed layers of a division."""
    return (
        [layer for number, layer in enumerate(layers) if number not in pushed],
        [layer for number, layer in enumerate(layers) if number in pushed],
    )


def fitting_options(
    sharing: Sharing,
    layers: Sequence[Layer],
    options: Sequence[LeafOptions],
    pushed: frozenset[int],
    limit_bytes: float,
) -> tuple[list[Options] | None, float]:
    """Returns what every layer may take in one division, and fits.

    Args:
        sharing: Says what tapped and pushed layers share.
        layers: The layers.
        options: What every layer may take.
        pushed: Numbers of the leaves that are pushed forward.
        limit_bytes: What the kernel may need at once.

    Returns:
        The options, or None where those of some layer do not fit; and the least bytes
        that the division needs.
    """
    some = [
        each.pushed if number in pushed else each.tapped
        for number, each in enumerate(options)
    ]
    if not all(each.items for each in some):
        return None, float("inf")
    resident_bytes, passes_bytes = sharing.bytes_of(*divided(layers, pushed))
    least = max([each.least_bytes for each in some])
    least = max(passes_bytes, resident_bytes + least)
    if least > limit_bytes:
        return None, least
    return [each.within(resident_bytes, limit_bytes) for each in some], least


def _by_taps(layers: Sequence[Layer], options: list[Options]) -> list[list[Options]]:
    """Returns what to select from: everything, and where it differs less.

    A tap that no leaf has any more makes the sweep shorter, which a leaf does not see
    for itself. So all leaves are also tapped later that can be, or none of them.
    """
    able = [number for number, layer in enumerate(layers) if layer.later is not None]
    found = [options]
    for later in (True, False):
        some = list(options)
        for number in able:
            some[number] = options[number].tapped(later=later)
        if some not in found:
            found.append(some)
    return found


def _shared_by(
    problem: Problem,
    chosen: Sequence[Priced],
    shared: SharedWork,
    sharing: Sharing,
) -> SharedWork:
    """Returns the shared work with the taps that the chosen candidates have."""
    if not any(item.candidate.later for item in chosen):
        return shared
    layers = problem.study.layers
    return sharing.work_of(
        tapped_layers(layers, chosen),
        [layer for layer, item in zip(layers, chosen, strict=True) if item.pushed],
    )


def _own(chosen: Sequence[Priced]) -> tuple[Price, ...]:
    """Returns what each candidate adds, given those before it."""
    computed: set[int | None] = set()
    found: list[Price] = []
    for item in chosen:
        found.append(item.left(computed))
        computed.update(item.keys)
    return tuple(found)


def _cost(
    problem: Problem,
    chosen: Sequence[Priced],
    own: Sequence[Price],
    shared: SharedWork,
    limit_bytes: float,
) -> PlanCost:
    passes = shared.forward + shared.sweep + shared.push
    contraction = sum(each.seconds for each in own)
    call = problem.profile.launch.call_overhead_s
    return PlanCost(
        seconds=call + passes.seconds + contraction,
        forward_seconds=shared.forward.seconds,
        sweep_seconds=shared.sweep.seconds,
        contraction_seconds=contraction,
        push_seconds=shared.push.seconds,
        flops=passes.flops + sum(each.flops for each in own),
        bytes_moved=passes.bytes_moved + sum(each.bytes_moved for each in own),
        peak_bytes=shared.peak_bytes(item.peak_bytes for item in chosen),
        memory_limit_bytes=limit_bytes,
        n_leaves=len(chosen),
    )
