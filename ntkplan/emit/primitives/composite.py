"""Which equations print as one: those that are exactly one public expression."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import jax.numpy as jnp
import numpy as np

from ntkplan._jax import Primitive, Var, primitives
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.control_flow import print_platform_dependent
from ntkplan.emit.primitives.counted_loop import is_counted_loop, print_counted_loop
from ntkplan.emit.primitives.idioms import (
    activations,
    arithmetic,
    arrangements,
    draws,
    dynamic_slices,
    lookups,
    masks,
    orders,
    products,
    solutions,
    statistics,
    updates,
)
from ntkplan.emit.primitives.idioms.matching import (
    Matcher,
    Producers,
    Proposal,
    Proposer,
)
from ntkplan.emit.primitives.table import print_equation
from ntkplan.emit.primitives.value import Value, aval_of, exact, whole
from ntkplan.ir.equation import Body, Equation

# What counts the operands that a nested function captures.
_CAPTURED: dict[Primitive, tuple[str, ...]] = {
    primitives.scan_p: ("num_consts",),
    primitives.while_p: ("cond_nconsts", "body_nconsts"),
}


def _by_primitive(*families: dict[Primitive, tuple[Proposer, ...]]):
    """Joins the proposers of all families; those that come first are asked first."""
    joined: dict[Primitive, tuple[Proposer, ...]] = {}
    for family in families:
        for primitive, proposers in family.items():
            joined[primitive] = (*joined.get(primitive, ()), *proposers)
    return joined


_FAMILIES = (
    activations,
    arithmetic,
    arrangements,
    draws,
    dynamic_slices,
    lookups,
    masks,
    orders,
    products,
    solutions,
    statistics,
    updates,
)
_PROPOSERS = _by_primitive(*(family.PROPOSERS for family in _FAMILIES))


def steps(body: Body, protected: Collection[Var]) -> list[Step]:
    """Groups a body's equations into what prints as one; what is not read is left out.

    Args:
        body: The equations.
        protected: Variables that must stay visible.
    """
    grouping = _Grouping(body, protected)
    made = [(grouping.step(equation), equation) for equation in body.equations[::-1]]
    ordered = [(step, item) for step, item in reversed(made) if step is not None]
    late = {step for step, equation in ordered if equation in grouping.computed_again}
    return _sunk([step for step, _ in ordered], late)


def _sunk(steps_: list[Step], late: Collection[Step]) -> list[Step]:
    """Moves some steps to where they are first read."""
    held: dict[Var, Step] = {}
    placed: list[Step] = []

    def release(step: Step) -> None:
        for item in step.inputs:
            needed = held.get(item) if isinstance(item, Var) else None
            if needed is not None:
                for output in needed.outputs:
                    del held[output]
                release(needed)
        placed.append(step)

    for step in steps_:
        if step in late:
            held.update(dict.fromkeys(step.outputs, step))
        else:
            release(step)
    for step in dict.fromkeys(held.values()):
        if step not in placed:
            release(step)
    return placed


class _Grouping:
    """Makes steps from the last equation to the first, knowing what is still read.

    Attributes:
        computed_again: Equations that are inside of some idiom, even if other steps
            read them as well.
    """

    def __init__(self, body: Body, protected: Collection[Var]) -> None:
        self._producers = Producers(body, protected)
        self._matcher = Matcher(self._producers)
        self._protected = frozenset(protected)
        self._read = {*protected, *(v for v in body.outputs if isinstance(v, Var))}
        self.computed_again: set[Equation] = set()
        self._order = {item: index for index, item in enumerate(body.equations)}

    def step(self, equation: Equation) -> Step | None:
        """Returns what an equation is printed in, or None if nothing reads it now."""
        if self._read.isdisjoint(equation.outputs):
            return None
        step = (
            _platform_step(equation, self._producers)
            or self._counted_loop(equation)
            or self._idiom(equation)
            or _plain(equation)
        )
        self._read.update(item for item in step.inputs if isinstance(item, Var))
        return step

    def _counted_loop(self, equation: Equation) -> Step | None:
        """A loop whose counter nothing reads afterwards."""
        if not is_counted_loop(equation) or equation.outputs[0] in self._read:
            return None

        def write(operands: Sequence[Value], context: Context):
            return print_counted_loop(equation, operands, context)

        return Step(
            inputs=equation.inputs,
            outputs=equation.outputs[1:],
            write=write,
            n_captured=equation.parameters["num_consts"],
        )

    def _idiom(self, equation: Equation) -> Step | None:
        for propose in _PROPOSERS.get(equation.primitive, ()):
            for proposal in propose(equation, self._producers):
                unread = (
                    item
                    for number, item in enumerate(equation.outputs)
                    if number != proposal.result
                )
                if not self._read.isdisjoint(unread):
                    continue
                group = self._matcher.group(proposal, equation)
                if group is not None and self._closed(group, equation):
                    self.computed_again |= group - {equation}
                    return _composite(proposal, equation)
        return None

    def _closed(self, group: set[Equation], last: Equation) -> bool:
        """Whether nothing outside of a group reads what is costly inside of it.

        Integers, such as indices that count from the start, are computed again.
        """
        inner = [v for member in group - {last} for v in member.outputs]
        end = self._order[last]

        def is_read(variable: Var) -> bool:
            """Whether a step that was made, or an equation to come, reads it."""
            return variable in self._read or any(
                reader not in group and self._order[reader] < end
                for reader in self._producers.readers(variable)
            )

        return self._protected.isdisjoint(inner) and all(
            _is_index(item) or not is_read(item) for item in inner
        )


def _is_index(variable: Var) -> bool:
    dtype = aval_of(variable).dtype
    return jnp.issubdtype(dtype, np.integer) or dtype == np.bool_


def _plain(equation: Equation) -> Step:
    def write(operands: Sequence[Value], context: Context):
        return print_equation(equation, operands, context)

    return Step(
        inputs=equation.inputs,
        outputs=equation.outputs,
        write=write,
        n_captured=sum(
            equation.parameters[name] for name in _CAPTURED.get(equation.primitive, ())
        ),
    )


def _composite(proposal: Proposal, last: Equation) -> Step:
    output = last.outputs[proposal.result]

    def write(operands: Sequence[Value], _: Context) -> Value:
        expression = proposal.write(*(exact(operand) for operand in operands))
        return whole(expression, aval_of(output))

    return Step(inputs=proposal.operands, outputs=(output,), write=write)


def _platform_step(equation: Equation, producers: Producers) -> Step | None:
    """A choice by platform, together with the equation that finds the platform."""
    if not equation.parameters.get("branches_platforms"):
        return None
    platform = producers.find(equation.inputs[0])
    if platform is None or platform.inputs:
        return None

    def write(operands: Sequence[Value], context: Context):
        return print_platform_dependent(equation, operands, context)

    return Step(inputs=equation.inputs[1:], outputs=equation.outputs, write=write)
