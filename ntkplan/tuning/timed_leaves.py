"""A choice made again, in the same form, at the prices of timed leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan.errors import InternalError
from ntkplan.planner.candidates import Priced
from ntkplan.planner.choose import choose_at_once
from ntkplan.planner.cuts import CutChosen, joined
from ntkplan.planner.halves import halved
from ntkplan.planner.tiles import tile_of
from ntkplan.planner.tiling import choose_tiled
from ntkplan.planner.uncut import Chosen
from ntkplan.tuning.layers import correct_by_timing
from ntkplan.tuning.session import Session
from ntkplan.tuning.timer import Budget

Choice = Chosen | CutChosen


def with_timed_leaves(session: Session, choice: Choice, budget: Budget) -> Choice:
    """Times the best candidates of each distinct layer, and chooses again.

    The form stays: the tiles, or where the model is cut.

    Args:
        session: Where timings are kept.
        choice: What the model chooses.
        budget: Seconds to spend.
    """
    if isinstance(choice, Chosen):
        return _timed(session, choice, budget)
    hidden = _timed(session, choice.hidden, budget)
    return _joined(choice, hidden, _timed(session, choice.tail, budget))


def as_before(choice: Choice, corrected: Choice) -> Choice:
    """Returns a choice at corrected prices.

    Args:
        choice: The choice.
        corrected: What is chosen at these prices.
    """
    if isinstance(choice, Chosen) and isinstance(corrected, Chosen):
        return _as_before(choice, corrected)
    if isinstance(choice, CutChosen) and isinstance(corrected, CutChosen):
        hidden = _as_before(choice.hidden, corrected.hidden)
        return _joined(choice, hidden, _as_before(choice.tail, corrected.tail))
    raise InternalError("choices of different forms have no prices in common")


def decided(chosen: Chosen, among: Sequence[tuple[Priced, ...]]) -> Chosen:
    """Chooses again among some candidates, with the same tiles, or all at once.

    Args:
        chosen: What was chosen before.
        among: Candidates of every layer.

    Raises:
        MemoryLimitError: Nothing fits.
    """
    problem, tiling = chosen.problem, chosen.decision.tiling
    if tiling is None:
        decision = choose_at_once(problem, among, chosen.limit_bytes)
    else:
        decision = choose_tiled(problem, among, tiling, chosen.limit_bytes)
    return dataclasses.replace(chosen, decision=decision)


def _timed(session: Session, chosen: Chosen, budget: Budget) -> Chosen:
    problem, decision = chosen.problem, chosen.decision
    if decision.tiling is not None:
        problem = tile_of(problem, decision.tiling)
    priced = correct_by_timing(session, problem, chosen.priced, decision, budget)
    corrected = dataclasses.replace(chosen, priced=tuple(priced))
    return _in_blocks(decided(corrected, priced))


def _as_before(chosen: Chosen, corrected: Chosen) -> Chosen:
    kept = [
        tuple(item for item in items if item.candidate is taken.candidate)
        for items, taken in zip(corrected.priced, chosen.decision.chosen, strict=True)
    ]
    again = decided(corrected, kept)
    if chosen.decision.lower_blocks == 1:
        return again
    return _in_blocks(again, wherever_possible=True)


def _in_blocks(chosen: Chosen, *, wherever_possible: bool = False) -> Chosen:
    """Returns a choice in blocks as far as the diagonal, where that pays and fits."""
    decision = chosen.decision
    if decision.tiling is not None or chosen.problem.study.cut is not None:
        return chosen
    blocks = halved(
        chosen.problem,
        decision,
        chosen.limit_bytes,
        wherever_possible=wherever_possible,
    )
    return dataclasses.replace(chosen, decision=blocks)


def _joined(choice: CutChosen, hidden: Chosen, tail: Chosen) -> CutChosen:
    return joined(choice.cut, hidden, tail, choice.limit_bytes, choice.instead_of)
