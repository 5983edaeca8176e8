"""The axis of the examples through `scan` and `while`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ntkplan._jax import ClosedJaxpr, Var
from ntkplan.ir.equation import Body, Equation
from ntkplan.trace.axis_rules.factor import Factor
from ntkplan.trace.axis_rules.state import (
    Finding,
    Held,
    Lost,
    State,
    doubted,
    first_doubt,
    first_lost,
    join,
    treats_by_place,
)
from ntkplan.trace.jaxpr import flatten

# (closed jaxpr, states of its inputs) -> states of its outputs
Follow = Callable[[ClosedJaxpr, Sequence[State]], list[State]]

_CARRIES = "the loop over the examples carries something from one to the next"
_SPLITS = "it loops over the examples and holds some of them another way as well"


def scan(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """A loop over a leading axis, which is time or the examples themselves."""
    n_fixed = int(equation.parameters["num_consts"])
    n_carries = int(equation.parameters["num_carry"])
    scanned = states[n_fixed + n_carries :]
    looped = {
        factor
        for state in scanned
        if isinstance(state, Held)
        for factor in state.examples
        if factor.position == 0
    }
    if looped:
        return _over_examples(equation, states, looped)
    fixed, carries = states[:n_fixed], states[n_fixed : n_fixed + n_carries]
    steps = [_shifted(state, -1) for state in scanned]
    body: ClosedJaxpr = equation.parameters["jaxpr"]

    def step(current: Sequence[State]) -> list[State]:
        return follow(body, [*fixed, *current, *steps])

    carries = _stable(equation, carries, lambda current: step(current)[:n_carries])
    stacked = [_shifted(state, +1) for state in step(carries)[n_carries:]]
    return [*carries, *stacked]


def while_(
    equation: Equation, states: Sequence[State], count: int, follow: Follow
) -> list[State]:
    """A loop until its condition is false, one for each example under `vmap`."""
    parameters = equation.parameters
    n_condition = int(parameters["cond_nconsts"])
    n_fixed = n_condition + int(parameters["body_nconsts"])
    fixed = states[n_condition:n_fixed]
    body: ClosedJaxpr = parameters["body_jaxpr"]
    condition: ClosedJaxpr = parameters["cond_jaxpr"]

    def step(current: Sequence[State]) -> list[State]:
        (going,) = follow(condition, [*states[:n_condition], *current])
        after = follow(body, [*fixed, *current])
        return [_while_going(equation, going, state) for state in after]

    return _stable(equation, states[n_fixed:], step)


def _while_going(equation: Equation, going: State, state: State) -> State:
    """Returns a carry's state after a step that some examples may not take."""
    lost = first_lost([going, state])
    if lost is not None:
        return lost
    assert isinstance(going, Held)
    assert isinstance(state, Held)
    if not going.examples:
        return doubted(state, going.doubt)
    # The condition's axes are the first of every carry's.
    taken = Held(
        examples=tuple(sorted({*going.examples, *state.examples})),
        paired=state.paired,
        doubt=first_doubt([state, going]),
    )
    if state.examples and state.examples != going.examples:
        why = "examples choose how often the loop goes round"
        return Lost(finding=Finding(equation=equation, why=why), certain=False)
    if not state.examples and not set(going.examples) <= set(state.constant):
        return doubted(taken, treats_by_place(equation))
    return taken


def _stable(
    equation: Equation,
    carries: Sequence[State],
    step: Callable[[Sequence[State]], Sequence[State]],
) -> list[State]:
    """Returns carries' states that one more step leaves as they are.

    It ends: a state only goes from constant to examples to lost, and a doubt stays.
    """
    current = list(carries)
    while True:
        joined = [
            join(before, after, equation)
            for before, after in zip(current, step(current), strict=True)
        ]
        if all(_same(*pair) for pair in zip(current, joined, strict=True)):
            return current
        current = joined


def _same(left: State, right: State) -> bool:
    if isinstance(left, Lost) or isinstance(right, Lost):
        return type(left) is type(right) and _certain(left) == _certain(right)
    return (
        left.examples == right.examples
        and left.constant == right.constant
        and _masks(left) == _masks(right)
    )


def _masks(state: Held) -> bool | None:
    return None if state.doubt is None else state.doubt.masks


def _certain(state: State) -> bool:
    return isinstance(state, Lost) and state.certain


def _shifted(state: State, by: int) -> State:
    """Returns the state with its leading axis stripped (-1) or a new one (+1)."""
    if isinstance(state, Lost):
        return state

    def moved(factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
        return tuple(
            factor.at(factor.position + by)
            for factor in factors
            if factor.position + by >= 0
        )

    return dataclasses.replace(
        state, examples=moved(state.examples), constant=moved(state.constant)
    )


def _over_examples(
    equation: Equation, states: Sequence[State], looped: set[Factor]
) -> list[State]:
    """A loop of which each step sees one example.

    Nothing that depends on that example may be carried on. What the steps return is
    then one example's each, whatever the body does.
    """
    lost = first_lost(list(states))
    if lost is not None:
        return [lost] * len(equation.outputs)
    n_carries = int(equation.parameters["num_carry"])
    n_before = int(equation.parameters["num_consts"]) + n_carries
    held = [state for state in states if isinstance(state, Held)]
    with_examples = {index for index, state in enumerate(held) if state.examples}
    only = {factor for index in with_examples for factor in held[index].examples}
    if len(looped) > 1 or only != looped or min(with_examples) < n_before:
        finding = Finding(equation=equation, why=_SPLITS)
        return [Lost(finding=finding, certain=False)] * len(equation.outputs)
    body = flatten(equation.parameters["jaxpr"])
    reached = _reached(body, with_examples)
    if any(reached[:n_carries]):
        finding = Finding(equation=equation, why=_CARRIES)
        return [Lost(finding=finding, certain=False)] * len(equation.outputs)
    (factor,) = looped
    changing = _changing(body, equation, held, factor)
    doubt = first_doubt(held)
    results: list[State] = [Held(doubt=doubt) for _ in range(n_carries)]
    for by_example, by_place in zip(
        reached[n_carries:], changing[n_carries:], strict=True
    ):
        if not by_example:
            constant = () if by_place else (factor,)
            results.append(Held(constant=constant, doubt=doubt))
            continue
        placed = treats_by_place(equation) if by_place else None
        results.append(Held(examples=(factor,), doubt=doubt or placed))
    return results


def _changing(
    body: Body, equation: Equation, held: Sequence[Held], factor: Factor
) -> list[bool]:
    """Says which outputs change from step to step, whatever the example is."""
    n_fixed = int(equation.parameters["num_consts"])
    n_before = n_fixed + int(equation.parameters["num_carry"])
    sources = {
        index
        for index, state in enumerate(held)
        if index >= n_before and not state.examples and factor not in state.constant
    }
    sources |= {
        n_fixed + index
        for index in range(n_before - n_fixed)
        if body.outputs[index] is not body.inputs[n_fixed + index]
    }
    return _reached(body, sources)


def _reached(body: Body, sources: set[int]) -> list[bool]:
    """Says which outputs depend on some of the inputs with these numbers."""
    touched = {body.inputs[index] for index in sources}
    for equation in body.equations:
        if any(isinstance(atom, Var) and atom in touched for atom in equation.inputs):
            touched.update(equation.outputs)
    return [isinstance(atom, Var) and atom in touched for atom in body.outputs]
