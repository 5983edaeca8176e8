"""What is known of a variable while the axis of the examples is followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import Factor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """An equation, and what about it matters to the independence of the examples.

    Attributes:
        equation: The equation.
        why: What it does, as a clause about "it".
        masks: Whether its output may be zero for all examples but one, so that a sum
            over the examples need not mix them.
    """

    equation: Equation
    why: str
    masks: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """Each element depends on no examples but those that its indices name.

    Attributes:
        examples: The factors of the axes along which the examples lie, in order; ()
            for what does not depend on the data. With two, an element depends on a
            pair of examples.
        constant: For what does not depend on the data, the factors along which it is
            the same for all examples, in order.
        paired: Where two factors met, if there are two.
        doubt: The first equation that may let the examples interact, or may treat an
            example by its place in the batch.
    """

    examples: tuple[Factor, ...] = ()
    constant: tuple[Factor, ...] = ()
    paired: Finding | None = None
    doubt: Finding | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lost:
    """The examples are no longer apart, certainly or perhaps."""

    finding: Finding
    certain: bool


State = Held | Lost


def treats_by_place(equation: Equation) -> Finding:
    """Returns the finding that example number 3 may be treated as number 3."""
    why = "it may treat an example by its place in the batch"
    return Finding(equation=equation, why=why, masks=True)


def first_doubt(states: Iterable[State]) -> Finding | None:
    """Returns the first doubt, one that masks before others, or None."""
    doubts = [
        state.doubt
        for state in states
        if isinstance(state, Held) and state.doubt is not None
    ]
    masking = [doubt for doubt in doubts if doubt.masks]
    return next(iter([*masking, *doubts]), None)


def first_lost(states: list[State]) -> Lost | None:
    """Returns a lost state, a certain one before others, or None."""
    lost = [state for state in states if isinstance(state, Lost)]
    return next((state for state in lost if state.certain), lost[0] if lost else None)


def doubted(state: State, doubt: Finding | None) -> State:
    """Returns the state with the doubt, unless it has one or is lost."""
    if doubt is None or isinstance(state, Lost) or state.doubt is not None:
        return state
    return dataclasses.replace(state, doubt=doubt)


def join(left: State, right: State, equation: Equation) -> State:
    """Returns what holds of a value that is the one or the other.

    Args:
        left: What is known of the one; its findings come first.
        right: What is known of the other.
        equation: The control flow that chooses.
    """
    lost = first_lost([left, right])
    if lost is not None:
        return lost
    assert isinstance(left, Held)
    assert isinstance(right, Held)
    doubt = first_doubt([left, right])
    if left.examples and right.examples:
        if left.examples != right.examples:
            why = "the axis of the examples is not the same in all cases"
            return Lost(finding=Finding(equation=equation, why=why), certain=False)
        return dataclasses.replace(left, doubt=doubt)
    if not left.examples and not right.examples:
        both = tuple(factor for factor in left.constant if factor in right.constant)
        return Held(constant=both, doubt=doubt)
    follows, fixed = (left, right) if left.examples else (right, left)
    if not set(follows.examples) <= set(fixed.constant):
        doubt = doubt or treats_by_place(equation)
    return dataclasses.replace(follows, doubt=doubt)
