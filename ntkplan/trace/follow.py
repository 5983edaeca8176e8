"""Follows a leaf through its prefixes to the equations in which it meets data."""

from __future__ import annotations

import dataclasses
import math

from ntkplan._jax import Var, array_dtype, array_shape, primitives
from ntkplan.ir.equation import Equation
from ntkplan.rules import axes
from ntkplan.rules.axes import Absent, Atom, AxisMap, Placement, Scale
from ntkplan.rules.prefix import carry
from ntkplan.rules.splits import SPLITS, carry_parts
from ntkplan.rules.step import Step
from ntkplan.trace.derivatives import passes_no_derivative
from ntkplan.trace.meeting import Absence, Meeting, Parts, Uncovered
from ntkplan.trace.openings import OPENINGS, Entrance
from ntkplan.trace.scope import Scope, lifted
from ntkplan.trace.substitution import meeting_of

_MOST_PATHS = 8
"""Ways from a leaf to one array, beyond which the leaf is called opaque."""

_STEPS = 255
"""The position that stands for the axis of a loop among those that it makes."""


def follow(
    scope: Scope, variable: Var, axis_map: AxisMap, *, whole: bool = False
) -> list[Meeting | Absence] | Uncovered:
    """Follows an array that is made of a leaf to all equations that use it.

    Args:
        scope: The body that it is in. What is recorded is added to it.
        variable: The array.
        axis_map: How it is made of the leaf.
        whole: Whether slices of it are to be look-ups, so that all uses are of the
            whole leaf.

    Returns:
        Where it meets data, or why that cannot be said in labels.
    """
    found: list[Meeting | Absence] = []
    pending = [(variable, axis_map)]
    visits: dict[Var, int] = {}
    while pending:
        variable, axis_map = pending.pop(0)
        visits[variable] = visits.get(variable, 0) + 1
        if visits[variable] > _MOST_PATHS:
            return Uncovered(reason="too many paths lead from it to one array")
        if scope.flow.is_output(variable):
            what = "the model" if scope.depth == 0 else "a loop or branch"
            return Uncovered(reason=f"{what} returns it")
        for number, operand in scope.flow.consumers(variable):
            equation = scope.flow.body.equations[number]
            if passes_no_derivative(equation) or scope.moving.isdisjoint(
                equation.outputs
            ):
                continue
            step = _step(scope, number, operand, whole)
            branch = _as_branch(scope, step, axis_map)
            if branch is not None:
                pending.append((equation.outputs[0], branch))
                continue
            carried = _carried(scope, step, axis_map)
            if carried is not None:
                for result, part in enumerate(carried):
                    if isinstance(part, AxisMap):
                        pending.append((equation.outputs[result], part))
                    else:
                        absence = Absence(place=((number, operand),), result=result)
                        found.append(absence)
                continue
            if equation.primitive in OPENINGS:
                entered = _enter(scope, step, axis_map)
                if isinstance(entered, Uncovered):
                    return entered
                meetings, again = entered
                found += meetings
                pending += [(result, axis_map) for result in again]
                continue
            met = meeting_of(scope.flow, step, axis_map)
            if met is None:
                return Uncovered(reason=f"no rule for {_named(equation)}")
            found.append(met)
    return sorted(found, key=lambda meeting: meeting.place)


def _named(equation: Equation) -> str:
    where = "" if equation.source is None else f" at {equation.source}"
    return f"`{equation.primitive.name}`{where}"


def _meets_no_data(scope: Scope, equation: Equation, operand: int) -> bool:
    others = (atom for at, atom in enumerate(equation.inputs) if at != operand)
    return scope.varying.isdisjoint(atom for atom in others if isinstance(atom, Var))


def _carried(
    scope: Scope, step: Step, axis_map: AxisMap
) -> list[AxisMap | Absent] | None:
    """Carries a map to every result of an equation without data."""
    if not _meets_no_data(scope, step.equation, step.operand):
        return None
    if step.equation.primitive in SPLITS:
        parts = carry_parts(step, axis_map)
    else:
        parts = (carry(step, axis_map),)
    found = [part for part in parts if part is not None]
    return found if len(found) == len(parts) else None


def _as_branch(scope: Scope, step: Step, axis_map: AxisMap) -> AxisMap | None:
    """Carries a map through a choice that is made once for every example.

    A branch that was vectorized over examples passes its operands through such choices.
    The leaf is multiplied by one where it is chosen and by zero elsewhere.
    """
    equation, operand = step.equation, step.operand
    if equation.primitive is not primitives.select_n_p or operand == 0:
        return None
    chosen = equation.inputs[0]
    while isinstance(chosen, Var) and array_shape(chosen):
        number = scope.flow.definition(chosen)
        if number is None:
            break
        maker = scope.flow.body.equations[number]
        if maker.primitive not in _SPREADING:
            break
        chosen = maker.inputs[0]
    if math.prod(array_shape(chosen)) != 1 or axis_map.shape != step.result_shape:
        return None
    dtype = array_dtype(equation.outputs[0])
    scale = Scale(
        variable=step.derive(
            lambda which: (which.reshape(()) == operand - 1).astype(dtype), chosen
        ),
        axes=(),
        depth=step.depth,
        rule="select_n",
    )
    return dataclasses.replace(axis_map, scales=(*axis_map.scales, scale))


_SPREADING = (
    primitives.broadcast_in_dim_p,
    primitives.reshape_p,
    primitives.squeeze_p,
)


def _step(scope: Scope, number: int, operand: int, whole: bool) -> Step:
    return Step(
        whole=whole,
        equation=scope.flow.body.equations[number],
        number=number,
        operand=operand,
        depth=scope.depth,
        partial=lambda: scope.partial(number, operand),
        derive=scope.derive,
    )


def _enter(
    scope: Scope, step: Step, axis_map: AxisMap
) -> tuple[list[Meeting | Absence], list[Var]] | Uncovered:
    """Follows an array into the bodies of an equation.

    Returns:
        Where it meets data inside, and the results that are the array again.
    """
    equation, number, operand = step.equation, step.number, step.operand
    opening = OPENINGS[equation.primitive]
    if number not in scope.opened:
        scope.opened[number] = opening.scopes(scope, equation)
    scopes = scope.opened[number]
    entrances = opening.entrances(equation, operand, scopes)
    if entrances is None:
        return Uncovered(reason=f"{_named(equation)} carries it from step to step")
    found: list[Meeting | Absence] = []
    again: list[Var] = []
    for entrance in entrances:
        inner, steps = _entered(number, entrance, axis_map, opening.length(equation))
        body = scopes[entrance.body]
        met = _follow_inside(body, entrance, inner, step.whole)
        if isinstance(met, Uncovered):
            return met
        if steps.placement and not all(_fits_a_part(body, item) for item in met):
            return Uncovered(reason=f"{_named(equation)} scans over a part of it")
        mixes = opening.mixes(scope, equation)
        found += [
            _lifted(scope, body, meeting, (number, operand), steps, mixes)
            for meeting in met
        ]
        if entrance.result is not None:
            again.append(equation.outputs[entrance.result])
    return found, again


def _follow_inside(
    body: Scope, entrance: Entrance, axis_map: AxisMap, whole: bool
) -> list[Meeting | Absence] | Uncovered:
    if entrance.result is None:
        return follow(body, entrance.variable, axis_map, whole=whole)
    unreturned = dataclasses.replace(
        body.flow.body,
        outputs=tuple(
            atom for atom in body.flow.body.outputs if atom is not entrance.variable
        ),
    )
    returning = body.flow
    body.flow = dataclasses.replace(returning, body=unreturned)
    try:
        return follow(body, entrance.variable, axis_map, whole=whole)
    finally:
        body.flow = returning


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Steps:
    """The axis that counts a loop's steps, or none outside of loops."""

    parts: tuple[Atom, ...] = ()
    length: int | None = None
    placement: Placement | None = None


def _fits_a_part(body: Scope, meeting: Meeting | Absence) -> bool:
    """Says whether what a meeting records can be cropped to some of a loop's steps."""
    if isinstance(meeting, Absence):
        return True
    inside = any(scale.depth >= body.depth for scale in meeting.axis_map.scales)
    return meeting.patches is None and not inside


def _entered(
    number: int, entrance: Entrance, axis_map: AxisMap, length: int | None
) -> tuple[AxisMap, _Steps]:
    """Returns the map of an array inside of a body, and the axis of the steps."""
    if length is None:
        return axis_map, _Steps()
    if not entrance.scanned:
        atoms = axes.made_axis(number, _STEPS, length).atoms
        return axis_map, _Steps(parts=atoms, length=length)
    first, *rest = axis_map.axes
    steps = _Steps(parts=first.atoms, length=length, placement=first.placement)
    return (
        axes.with_axes(axis_map, rest, steps=(*axis_map.steps, *first.atoms)),
        steps,
    )


def _lifted(
    scope: Scope,
    body: Scope,
    meeting: Meeting | Absence,
    place: tuple[int, int],
    steps: _Steps,
    mixes: bool,
) -> Meeting | Absence:
    """Returns a meeting inside of a body as one outside of it."""
    if isinstance(meeting, Absence):
        return dataclasses.replace(meeting, place=(place, *meeting.place))

    def outside(variable: Var) -> Var:
        made = lifted(body.records, variable, steps.length)
        if mixes or variable in body.varying:
            scope.varying.add(made)
        return made

    looped = steps.length is not None
    lead = (Parts(parts=steps.parts, placement=steps.placement),) if looped else ()
    scales = tuple(
        scale
        if scale.depth < body.depth
        else dataclasses.replace(
            scale,
            variable=outside(scale.variable),
            axes=((steps.parts, *scale.axes) if looped else scale.axes),
            depth=scope.depth,
        )
        for scale in meeting.axis_map.scales
    )
    patches = meeting.patches
    if patches is not None and looped:
        patches = dataclasses.replace(
            patches, order=(0, *(axis + 1 for axis in patches.order))
        )
    recorded = None if meeting.recorded is None else outside(meeting.recorded)
    activations = (*lead, *meeting.activations) if recorded else ()
    return dataclasses.replace(
        meeting,
        place=(place, *meeting.place),
        tap=lifted(body.taps, meeting.tap, steps.length),
        scaled=dataclasses.replace(
            meeting.scaled, tap=lifted(body.taps, meeting.scaled.tap, steps.length)
        ),
        value=(*lead, *meeting.value),
        recorded=recorded,
        activations=activations,
        patches=patches,
        n_steps=meeting.n_steps + looped,
        axis_map=dataclasses.replace(meeting.axis_map, scales=scales),
    )
