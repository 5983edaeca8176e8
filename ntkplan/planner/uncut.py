"""The choice for a model that is not cut: with cotangents alone, or tangents first."""

from __future__ import annotations

import dataclasses

from ntkplan.errors import MemoryLimitError
from ntkplan.ir.plan import PlanCost
from ntkplan.ir.use import Layer
from ntkplan.planner.candidates import Priced, price
from ntkplan.planner.choose import choose, choose_at_once
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.tangents import tangents_first
from ntkplan.planner.tiling import choices_within

# Forward mode is another program, whose estimates are off in another way.
NEEDED_GAIN = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A problem with its candidates, and what was chosen of them.

    Attributes:
        problem: The problem.
        priced: The candidates of every layer.
        decision: What was chosen.
        limit_bytes: What it had to fit into.
        unlimited: What would be chosen if memory had no limit, where that does not fit.
        instead_of: With tangents first, the best without them, where that fits.
        runner_up: Where it is computed tile by tile, the best with other tiles.
    """

    problem: Problem
    priced: tuple[tuple[Priced, ...], ...]
    decision: Decision
    limit_bytes: float
    unlimited: tuple[Priced, ...] | None = None
    instead_of: Chosen | None = None
    runner_up: Chosen | None = None

    @property
    def cost(self) -> PlanCost:
        """What it is estimated to cost."""
        return self.decision.cost

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, what stands for a cut among them."""
        return self.problem.study.layers


def choose_uncut(
    problem: Problem, request: MethodRequest, limit_bytes: float
) -> Chosen:
    """Chooses a candidate for every layer of a problem, tangents first where it pays.

    Raises:
        MemoryLimitError: Nothing fits; with the least that would.
    """
    refused: list[MemoryLimitError] = []
    plain: Chosen | None = None
    try:
        plain = _chosen(problem, request, limit_bytes)
    except MemoryLimitError as error:
        refused.append(error)
    best = plain
    for study in tangents_first(problem.study, request):
        changed = dataclasses.replace(problem, study=study)
        try:
            found = _chosen(changed, request, limit_bytes, instead_of=plain)
        except MemoryLimitError as error:
            refused.append(error)
            continue
        gain = NEEDED_GAIN if best is plain else 1.0
        if best is None or (
            found.decision.cost.seconds * gain < best.decision.cost.seconds
        ):
            best = found
    if best is None:
        raise min(refused, key=lambda error: error.least_bytes)
    return best


def _chosen(
    problem: Problem,
    request: MethodRequest,
    limit_bytes: float,
    instead_of: Chosen | None = None,
) -> Chosen:
    priced = price(problem, request)
    unlimited = choose(problem, priced, limit_bytes, binding=False)
    if problem.study.cut is None:
        ways = choices_within(problem, priced, request, unlimited, limit_bytes)
    else:
        # The kernel of the values at a cut is held as a whole, and not cut into tiles.
        at_once = choose_at_once(problem, priced, limit_bytes, unlimited)
        ways = [(at_once, priced)]
    fits = unlimited.cost.peak_bytes <= limit_bytes
    best, *others = (
        Chosen(
            problem=problem,
            priced=tuple(items),
            decision=decision,
            limit_bytes=limit_bytes,
            unlimited=None if fits else unlimited.chosen,
            instead_of=instead_of,
        )
        for decision, items in ways
    )
    if best.decision.tiling is None:
        return best
    tiling = best.decision.tiling
    unlike = (each for each in others if each.decision.tiling != tiling)
    return dataclasses.replace(best, runner_up=next(unlike, None))
