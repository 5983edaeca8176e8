"""The choice for a model that is not cut: with cotangents alone, or tangents first."""

from __future__ import annotations

import dataclasses

from ntkplan.errors import MemoryLimitError
from ntkplan.ir.use import Layer
from ntkplan.planner.candidates import Priced, price
from ntkplan.planner.choose import choose_at_once
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.tangents import tangents_first
from ntkplan.planner.tiling import choose_within

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
        instead_of: With tangents first, the best without them, where that fits.
    """

    problem: Problem
    priced: tuple[tuple[Priced, ...], ...]
    decision: Decision
    limit_bytes: float
    instead_of: Chosen | None = None

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
    if problem.study.cut is None:
        decision, priced = choose_within(problem, priced, request, limit_bytes)
    else:
        # The kernel of the values at a cut is held as a whole, and not cut into tiles.
        decision = choose_at_once(problem, priced, limit_bytes)
    return Chosen(
        problem=problem,
        priced=tuple(priced),
        decision=decision,
        limit_bytes=limit_bytes,
        instead_of=instead_of,
    )
