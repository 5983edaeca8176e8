"""Work of control flow: its bodies, as often as they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from ntkplan._jax import ClosedJaxpr, Literal, Primitive, primitives, sub_jaxprs
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.amount import Level, Tally, amount
from ntkplan.rules.work.flat import Flat, flat_jaxpr, levels_of
from ntkplan.rules.work.step import Call

ASSUMED_TRIPS = 100
"""How often a `while` is taken to run, of which nobody knows."""

Levels = dict[int | None, Level]


class Engine(Protocol):
    """Counts the body of a loop, see `ntkplan.rules.work.passes`."""

    def forward(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of one evaluation."""
        ...

    def sweep(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of one pull-back."""
        ...

    def push(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns the operations of pushing a tangent."""
        ...


Run = Callable[[Flat, Levels], Sequence[Tally]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopRule:
    """What a primitive with a body does, given who counts the body.

    Attributes:
        forward: Operations of the primitive.
        pull: Operations of a pull-back to some operands.
        push: Operations of pushing tangents of some operands.
    """

    forward: Callable[[Call, dict[int, Level], Engine], list[Tally]]
    pull: Callable[[Call, dict[int, Level], Sequence[int], Engine], list[Tally]]
    push: Callable[[Call, dict[int, Level], Sequence[int], Engine], list[Tally]]


def _body(
    closed: ClosedJaxpr,
    levels: Sequence[Level],
    active: Sequence[bool],
    run: Run,
    carries: range = range(0),
) -> list[Tally]:
    """Counts one evaluation of a body.

    A carry differs by example, or is active, as soon as what it becomes is.
    """
    levels, active = list(levels), list(active)
    while True:
        flat = flat_jaxpr(closed, active=active)
        inner = [flat.number_of[variable] for variable in closed.jaxpr.invars]
        given: Levels = dict(zip(inner, levels, strict=True))
        found = levels_of(flat, frozenset(flat.free), given)
        changed = False
        for result, carry in enumerate(carries):
            atom = closed.jaxpr.outvars[result]
            number = None if isinstance(atom, Literal) else flat.number_of[atom]
            grown = max(levels[carry], found.get(number, Level.SHARED))
            reached = active[carry] or number in flat.active
            changed |= grown is not levels[carry] or reached is not active[carry]
            levels[carry], active[carry] = grown, reached
        if not changed:
            return list(run(flat, found))


def _repeated(tallies: Sequence[Tally], trips: int) -> list[Tally]:
    """Returns a loop around a body."""
    if not trips:
        return []
    loop = Tally(kind=OperationKind.LOOP, repeats=trips)
    return [loop, *(tally.times(trips) for tally in tallies)]


def _operands(call: Call, levels: dict[int, Level]) -> list[Level]:
    return [levels[index] for index in range(len(call.inputs))]


def _scan(
    call: Call, levels: dict[int, Level], wanted: Sequence[int], run: Run
) -> list[Tally]:
    parameters = call.parameters
    first = parameters["num_consts"]
    carries = range(first, first + parameters["num_carry"])
    active = [index in wanted for index in range(len(call.inputs))]
    body = _body(parameters["jaxpr"], _operands(call, levels), active, run, carries)
    return _repeated(body, parameters["length"])


def _scan_pull(
    call: Call, levels: dict[int, Level], wanted: Sequence[int], engine: Engine
) -> list[Tally]:
    """Adds up, over the iterations, the cotangents of what all of them read."""
    found = _scan(call, levels, wanted, engine.sweep)
    for index in wanted:
        if index < call.parameters["num_consts"]:
            array = call.inputs[index]
            addition = Tally(
                kind=OperationKind.ELEMENTWISE,
                flops=amount(array.elements, Level.COLUMN),
                bytes_read=amount(2 * array.nbytes, Level.COLUMN),
                bytes_written=amount(array.nbytes, Level.COLUMN),
            )
            found.append(addition.times(max(1, call.parameters["length"])))
    return found


def _while(
    call: Call, levels: dict[int, Level], wanted: Sequence[int], run: Run
) -> list[Tally]:
    parameters = call.parameters
    of_test, of_body = parameters["cond_nconsts"], parameters["body_nconsts"]
    everything = _operands(call, levels)
    state = everything[of_test + of_body :]
    active = [index in wanted for index in range(len(call.inputs))]
    body = _body(
        parameters["body_jaxpr"],
        [*everything[of_test : of_test + of_body], *state],
        active[of_test:],
        run,
        range(of_body, of_body + len(state)),
    )
    test = _body(
        parameters["cond_jaxpr"],
        [*everything[:of_test], *state],
        [*active[:of_test], *active[of_test + of_body :]],
        run,
    )
    return _repeated([*test, *body], ASSUMED_TRIPS)


def _cond(
    call: Call, levels: dict[int, Level], wanted: Sequence[int], run: Run
) -> list[Tally]:
    """Takes the dearest branch, or all where the examples may take different ones."""
    operands = _operands(call, levels)[1:]
    active = [index in wanted for index in range(1, len(call.inputs))]
    branches = [
        _body(branch, operands, active, run) for branch in call.parameters["branches"]
    ]
    if levels[0] is not Level.SHARED:
        return [tally for branch in branches for tally in branch]
    return max(branches, key=_bulk)


def _bulk(tallies: Sequence[Tally]) -> int:
    return sum(
        sum(part)
        for tally in tallies
        for part in (tally.flops, tally.bytes_read, tally.bytes_written)
    )


def _bodies_once(
    call: Call, levels: dict[int, Level], wanted: Sequence[int], run: Run
) -> list[Tally]:
    """Runs every body once, every argument at the level of the greatest operand."""
    level = max(_operands(call, levels), default=Level.SHARED)
    found: list[Tally] = []
    for _, closed in sub_jaxprs(call.parameters):
        count = len(closed.jaxpr.invars)
        found += _body(closed, [level] * count, [bool(wanted)] * count, run)
    return found


_Counter = Callable[[Call, dict[int, Level], Sequence[int], Run], list[Tally]]


def _rule(count: _Counter) -> LoopRule:
    return LoopRule(
        forward=lambda call, levels, engine: count(call, levels, (), engine.forward),
        pull=lambda call, levels, wanted, engine: count(
            call, levels, wanted, engine.sweep
        ),
        push=lambda call, levels, wanted, engine: count(
            call, levels, wanted, engine.push
        ),
    )


LOOPS: dict[Primitive, LoopRule] = {
    primitives.scan_p: dataclasses.replace(_rule(_scan), pull=_scan_pull),
    primitives.while_p: _rule(_while),
    primitives.cond_p: _rule(_cond),
    primitives.linear_solve_p: _rule(_bodies_once),
}
"""Control flow, by primitive; `LoopRule` for each."""

OF_UNKNOWN_LENGTH: frozenset[Primitive] = frozenset({primitives.while_p})
"""Loops whose count is an estimate."""
