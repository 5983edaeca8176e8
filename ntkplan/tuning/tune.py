"""From estimates to a choice that was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ntkplan.emit.source import Module
from ntkplan.ir.plan import TimedPlan, Tuning
from ntkplan.planner.candidates import Priced
from ntkplan.planner.division import Decision
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.tiling import choose_within
from ntkplan.tuning.layers import correct_by_timing
from ntkplan.tuning.session import Session
from ntkplan.tuning.whole_plans import fastest, rivals

# Whole kernels decide, and take longer to compile than leaves.
_LEAVES_FRACTION = 0.4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A measured choice.

    Attributes:
        priced: The candidates of every layer, at corrected prices.
        decision: The choice among them.
        record: What was measured.
    """

    priced: Sequence[tuple[Priced, ...]]
    decision: Decision
    record: Tuning


def tune(
    problem: Problem,
    priced: Sequence[tuple[Priced, ...]],
    request: MethodRequest,
    limit_bytes: float,
    *,
    budget_s: float,
    module_of: Callable[[Sequence[tuple[Priced, ...]], Decision], Module],
    arguments: Callable[[], tuple[Any, ...]],
    shapes: Sequence[object],
) -> Tuned:
    """Chooses by measuring on the device that is present.

    The best candidates of each distinct layer are timed and their prices corrected.
    What is then chosen is timed as a whole against the model's choice and against
    unlike ones, and the fastest is taken. A kernel that has to be computed tile by tile
    is left as the model chooses it.

    Args:
        problem: What was asked for.
        priced: The candidates of every layer, as the model prices them.
        request: Methods that the user allows.
        limit_bytes: What every choice has to fit into.
        budget_s: Seconds that all of it may take, compilation included. A compilation
            that has begun is not interrupted.
        module_of: Emits the kernel of a choice.
        arguments: Makes what kernels are called with.
        shapes: Shapes and dtypes of that, as JSON can hold them.

    Raises:
        MemoryLimitError: Nothing fits.
    """
    untuned, priced = choose_within(problem, priced, request, limit_bytes)
    if untuned.tiling is not None:
        why_not = "kernels in tiles are not timed"
        record = untimed(untuned.cost.seconds, why_not, budget_s)
        return Tuned(priced=priced, decision=untuned, record=record)
    session = Session(budget_s, problem.profile, limit_bytes=limit_bytes)
    # A caller may be tracing; what is timed here is no part of that.
    with jax.ensure_compile_time_eval():
        corrected = correct_by_timing(
            session, problem, priced, untuned, session.budget.part(_LEAVES_FRACTION)
        )
        found = rivals(problem, corrected, limit_bytes, untuned=untuned)
        taken, timed = fastest(
            session,
            found,
            lambda decision: module_of(corrected, decision),
            arguments,
            shapes,
            session.budget.part(1.0),
        )
    session.save()
    return Tuned(
        priced=corrected,
        decision=taken.decision,
        record=Tuning(
            budget_s=budget_s,
            spent_s=session.budget.spent_s,
            n_timed=session.n_timed,
            n_cached=session.n_cached,
            plans=timed,
        ),
    )


def untimed(seconds: float, why_not: str, budget_s: float) -> Tuning:
    """Records that the model's choice is taken as it is.

    Args:
        seconds: What the model predicts for it.
        why_not: Why it is not timed.
        budget_s: Seconds that might have been spent.
    """
    plan = TimedPlan(
        what="the model's choice",
        predicted_seconds=seconds,
        measured_seconds=None,
        why_not=why_not,
    )
    return Tuning(budget_s=budget_s, spent_s=0.0, n_timed=0, n_cached=0, plans=(plan,))
