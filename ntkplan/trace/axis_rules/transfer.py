"""From what is known of an equation's operands to what is known of its outputs."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Mixes,
    Outcome,
    Selects,
    Unclear,
    factors_of_axis,
    shape_of,
)
from ntkplan.trace.axis_rules.state import (
    Finding,
    Held,
    Lost,
    State,
    first_doubt,
    first_lost,
    treats_by_place,
)
from ntkplan.trace.axis_rules.table import ConstantAxes, axis_rules, constant_axes


def transfer(equation: Equation, states: Sequence[State], count: int) -> list[State]:
    """Applies the primitive's axis rule, whatever the operands hold.

    Args:
        equation: Any equation but control flow.
        states: What is known of each input.
        count: How many examples there are.

    Returns:
        What is known of each output.
    """
    lost = first_lost(list(states))
    if lost is not None:
        return [lost] * len(equation.outputs)
    held = [state for state in states if isinstance(state, Held)]
    rule = axis_rules().get(equation.primitive)
    outputs = range(len(equation.outputs))
    if not any(state.examples for state in held):
        doubt = first_doubt(held)
        made = constant_axes().get(equation.primitive)
        return [
            Held(
                constant=_constant(equation, rule, made, held, output, count),
                doubt=doubt,
            )
            for output in outputs
        ]
    if rule is None:
        why = "ntkplan has no rule for how it treats its axes"
        return [_lost(equation, why)] * len(equation.outputs)
    return [_followed(equation, rule, held, output, count) for output in outputs]


def _lost(equation: Equation, why: str, *, certain: bool = False) -> Lost:
    return Lost(finding=Finding(equation=equation, why=why), certain=certain)


def _outcome(
    equation: Equation, rule: AxisRule, operand: int, factor: Factor, output: int
) -> Outcome:
    """Returns where the rule puts an operand's factor in one output."""
    outcome = rule(equation, operand, factor)
    return outcome[output] if isinstance(outcome, tuple) else outcome


def _followed(
    equation: Equation, rule: AxisRule, held: Sequence[Held], output: int, count: int
) -> State:
    """Returns what is known of one output, some operand holding examples."""
    outcomes = [
        _outcome(equation, rule, operand, factor, output)
        for operand, state in enumerate(held)
        for factor in state.examples
    ]
    doubt = first_doubt(held)
    for kind in (Mixes, Unclear):
        for outcome in outcomes:
            if isinstance(outcome, kind):
                certain = kind is Mixes and not (doubt and doubt.masks)
                return _lost(equation, outcome.why, certain=certain)
    examples = tuple(sorted({item for item in outcomes if isinstance(item, Factor)}))
    if any(
        one.overlaps(other)
        for one in examples
        for other in examples
        if one is not other
    ):
        return _lost(equation, "examples lie on one axis in two different ways")
    for outcome in outcomes:
        if isinstance(outcome, Selects) and (doubt is None or outcome.masks):
            doubt = Finding(equation=equation, why=outcome.why, masks=outcome.masks)
    if not (doubt and doubt.masks) and not all(
        _same_for_all(equation, rule, operand, state, output, factor)
        for operand, state in enumerate(held)
        if not state.examples
        for factor in examples
    ):
        doubt = treats_by_place(equation)
    paired = None
    if len(examples) > 1:
        paired = next((state.paired for state in held if state.paired), None)
        paired = paired or Finding(
            equation=equation, why="it combines each example with every other"
        )
    constant = ()
    if not examples:
        made = constant_axes().get(equation.primitive)
        constant = _constant(equation, rule, made, held, output, count)
    return Held(examples=examples, constant=constant, paired=paired, doubt=doubt)


def _constant(
    equation: Equation,
    rule: AxisRule | None,
    made: ConstantAxes | None,
    held: Sequence[Held],
    output: int,
    count: int,
) -> tuple[Factor, ...]:
    """Returns the factors along which an output without examples is constant."""
    shape = shape_of(equation.outputs[output])
    if (rule is None and made is None) or all(size % count for size in shape):
        return ()
    candidates = set(made(equation, count)) if made is not None else set[Factor]()
    if rule is None:
        return tuple(sorted(candidates))
    for operand, state in enumerate(held):
        for factor in state.constant:
            outcome = _outcome(equation, rule, operand, factor, output)
            if isinstance(outcome, Factor):
                candidates.add(outcome)
    return tuple(
        factor
        for factor in sorted(candidates)
        if all(
            _same_for_all(equation, rule, operand, state, output, factor)
            for operand, state in enumerate(held)
        )
    )


def _same_for_all(
    equation: Equation,
    rule: AxisRule,
    operand: int,
    state: Held,
    output: int,
    factor: Factor,
) -> bool:
    """Says whether an operand gives the same to every index of an output's factor.

    It does where it is constant along the factor, and where none of its axes lands
    there at all.
    """
    moved = (
        _outcome(equation, rule, operand, constant, output)
        for constant in state.constant
    )
    if factor in moved:
        return True
    return not any(
        _lands(_outcome(equation, rule, operand, part, output), factor)
        for position, length in enumerate(shape_of(equation.inputs[operand]))
        for part in factors_of_axis(position, length, factor.count)
    )


def _lands(outcome: Outcome, factor: Factor) -> bool:
    if isinstance(outcome, Factor):
        return outcome.overlaps(factor)
    return isinstance(outcome, Unclear) and outcome.lands
