"""Which whole kernels are timed: the best choices, and unlike ones."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from ntkplan.errors import MemoryLimitError
from ntkplan.methods.candidate import Method
from ntkplan.planner.candidates import Priced
from ntkplan.planner.uncut import Chosen
from ntkplan.tuning.timed_leaves import Choice, as_before, decided

_MOST_RIVALS = 3

# What is expected to take so many times as long as the best is not tried.
_HOPELESS = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rival:
    """A choice for the whole kernel.

    Attributes:
        what: How it came about, in words.
        choice: The choice.
    """

    what: str
    choice: Choice


def rivals(untuned: Choice, corrected: Choice) -> list[Rival]:
    """Returns up to three choices that differ, the model's own first.

    Args:
        untuned: The choice at the model's prices.
        corrected: The choice at corrected prices.
    """
    model = Rival(what="the model's choice", choice=as_before(untuned, corrected))
    best = Rival(what="the choice by timed leaves", choice=corrected)
    unlike = sorted(_unlike(corrected), key=lambda rival: rival.choice.cost.seconds)
    longest_s = _HOPELESS * corrected.cost.seconds
    found: dict[tuple[object, ...], Rival] = {}
    for rival in (model, best, *_not_in_blocks(best), *unlike):
        if rival in (best, model) or rival.choice.cost.seconds <= longest_s:
            found.setdefault(_identity(rival.choice), rival)
    return list(found.values())[:_MOST_RIVALS]


def _not_in_blocks(best: Rival) -> Iterator[Rival]:
    """Yields the best choice all at once, where it is one in blocks."""
    choice = best.choice
    if isinstance(choice, Chosen) and choice.decision.lower_blocks > 1:
        plain = decided(choice, choice.priced)
        yield Rival(what=f"{best.what}, not in blocks", choice=plain)


def _unlike(choice: Choice) -> Iterator[Rival]:
    """Yields choices of another form, of one method, and one without pushes."""
    if choice.instead_of is not None:
        left_out = "tangents" if isinstance(choice, Chosen) else "a cut"
        yield Rival(what=f"the best without {left_out}", choice=choice.instead_of)
    if not isinstance(choice, Chosen):
        return
    if choice.runner_up is not None:
        yield Rival(what="the best with other tiles", choice=choice.runner_up)
    for method in (None, *Method):
        kept = [
            tuple(item for item in items if item.allowed and _is_of(item, method))
            or items
            for items in choice.priced
        ]
        what = (
            "no leaf pushed" if method is None else f"{method} wherever it can be had"
        )
        with contextlib.suppress(MemoryLimitError):
            yield Rival(what=what, choice=decided(choice, kept))


def _is_of(item: Priced, method: Method | None) -> bool:
    return not item.pushed if method is None else item.candidate.method is method


def _identity(choice: Choice) -> tuple[object, ...]:
    """Returns what two choices have in common that are the same kernel."""
    if not isinstance(choice, Chosen):
        return choice.cut, *_identity(choice.hidden), *_identity(choice.tail)
    decision = choice.decision
    return (
        id(choice.problem.study),
        decision.tiling,
        decision.lower_blocks,
        *(id(item.candidate) for item in decision.chosen),
    )
