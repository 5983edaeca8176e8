"""Repetitions in straight-line code become loops again.

A recurrence that was written out step by step is a run of equal blocks of equations,
each of which reads what the one before it computed. As a `scan` its kernel is as short
and as quick to compile as if it had been written so.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import lax

from ntkplan._jax import (
    Literal,
    Var,
    array_dtype,
    array_shape,
    close,
    evaluate,
    primitives,
)
from ntkplan.ir.equation import Atom, Body, Equation, substituted
from ntkplan.trace.jaxpr import applied
from ntkplan.trace.steps import along_axis

_LEAST_STEPS = 16
"""Repetitions from which a loop is worth it."""

_STRUCTURAL = frozenset(
    {
        primitives.broadcast_in_dim_p,
        primitives.concatenate_p,
        primitives.convert_element_type_p,
        primitives.reshape_p,
        primitives.rev_p,
        primitives.slice_p,
        primitives.squeeze_p,
        primitives.transpose_p,
    }
)
"""Primitives that only bring data into place; they may run before everything else."""


def rolled(body: Body, leaves: Sequence[Var]) -> Body:
    """Returns a body in which the longest repetition, if there is one, is a loop.

    Args:
        body: Straight-line code.
        leaves: Inputs that are parameters. One that only a single step reads keeps the
            code as it is: its axes would be hidden in a stack of all steps'.
    """
    first, rest = _feeders_first(body)
    run = _longest_run(rest)
    if run is None:
        return body
    for shift in range(run.period):
        found = dataclasses.replace(run, start=run.start + shift)
        found = dataclasses.replace(
            found, n_steps=(run.end - found.start) // run.period
        )
        if found.n_steps < _LEAST_STEPS:
            break
        made = _Roller(body, first, rest, found, leaves).body()
        if made is not None:
            return made
    return body


def _feeders_first(body: Body) -> tuple[list[Equation], list[Equation]]:
    """Parts the equations that only bring inputs into place from all others.

    What several steps bring into place alike is brought there once.
    """
    given = {*body.inputs, *(variable for variable, _ in body.constants)}
    first: list[Equation] = []
    rest: list[Equation] = []
    known: dict[object, tuple[Var, ...]] = {}
    renamed: dict[Var, Atom] = {}
    for equation in body.equations:
        equation = equation.reading(renamed)
        if equation.primitive not in _STRUCTURAL or not given.issuperset(
            equation.reads
        ):
            rest.append(equation)
            continue
        key = (_kind(equation), equation.reads)
        same = known.setdefault(key, equation.outputs)
        if same is not equation.outputs:
            renamed.update(zip(equation.outputs, same, strict=True))
            continue
        first.append(equation)
        given.update(equation.outputs)
    return first, rest


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """A run of equal blocks.

    Attributes:
        start: Number of its first equation.
        end: Number of the first equation that is no part of the repetition.
        period: Equations in a block.
        n_steps: Blocks.
    """

    start: int
    end: int
    period: int
    n_steps: int


def _longest_run(equations: Sequence[Equation]) -> _Run | None:
    """Finds the repetition that covers most equations, the shortest block first."""
    kinds: dict[object, int] = {}
    numbers = [kinds.setdefault(_kind(item), len(kinds)) for item in equations]
    best: _Run | None = None
    for period in range(1, len(numbers) // _LEAST_STEPS + 1):
        start = 0
        for end in range(len(numbers) - period + 1):
            same = end < len(numbers) - period and numbers[end] == numbers[end + period]
            if same:
                continue
            n_steps = (end - start) // period + 1
            covered = 0 if best is None else best.end - best.start
            if n_steps >= _LEAST_STEPS and end + period - start > covered + period:
                best = _Run(
                    start=start, end=end + period, period=period, n_steps=n_steps
                )
            start = end + 1
    return best


def _kind(equation: Equation) -> object:
    """What two equations must share to be two steps of one loop."""
    parameters = tuple(
        (name, id(value) if callable(value) else _text(value))
        for name, value in sorted(equation.parameters.items())
    )
    atoms = (*equation.inputs, *equation.outputs)
    shapes = tuple((array_shape(atom), str(array_dtype(atom))) for atom in atoms)
    literals = tuple(
        repr(atom.val) if isinstance(atom, Literal) else "" for atom in equation.inputs
    )
    return (equation.primitive, parameters, shapes, literals)


def _text(value: Any) -> str:
    """Returns a parameter as text; functions inside keep their addresses."""
    return re.sub(r"\s+", " ", str(value))


Place = tuple[int, int]
"""Number of an equation in its block, and of its output."""


class _Roller:
    """Makes a loop of a run, if each of its steps reads the same or the one before."""

    def __init__(
        self,
        body: Body,
        first: Sequence[Equation],
        rest: Sequence[Equation],
        run: _Run,
        leaves: Sequence[Var],
    ) -> None:
        self._body, self._first, self._rest, self._run = body, first, rest, run
        self._blocks = [
            rest[run.start + run.period * step : run.start + run.period * (step + 1)]
            for step in range(run.n_steps)
        ]
        self._places: dict[Var, tuple[int, Place]] = {
            output: (step, (number, position))
            for step, block in enumerate(self._blocks)
            for number, equation in enumerate(block)
            for position, output in enumerate(equation.outputs)
        }
        self._of_leaves = set(leaves)
        for equation in (*first, *rest[: run.start]):
            if not self._of_leaves.isdisjoint(equation.reads):
                self._of_leaves.update(equation.outputs)
        self._makers = {
            output: equation for equation in first for output in equation.outputs
        }
        self._shared: list[Var] = []
        self._carried: dict[Place, Var] = {}
        self._scanned: dict[Var, tuple[Var, ...]] = {}

    def body(self) -> Body | None:
        """Returns the body with the loop, or None where the run is no loop."""
        for number, equation in enumerate(self._blocks[0]):
            for operand, atom in enumerate(equation.inputs):
                if isinstance(atom, Var) and not self._classified(number, operand):
                    return None
        starts = list(self._carried.values())
        given = [*self._shared, *starts, *self._scanned]
        if not starts or len(set(given)) < len(given):
            return None
        stacks = [self._stacked(many) for many in self._scanned.values()]
        if any(stack is None for stack in stacks):
            return None
        return self._with_loop([stack for stack in stacks if stack is not None])

    def _classified(self, number: int, operand: int) -> bool:
        """Finds out what an operand of the block is, step by step."""
        atoms = [block[number].inputs[operand] for block in self._blocks]
        read = [atom for atom in atoms if isinstance(atom, Var)]
        places = [self._places.get(atom) for atom in read]
        own = places[0]
        if own is not None:
            return all(place == (step, own[1]) for step, place in enumerate(places))
        if len(set(read)) == 1:
            if read[0] not in self._shared:
                self._shared.append(read[0])
            return True
        second = places[1]
        if second is not None:
            follows = all(
                place == (step, second[1]) for step, place in enumerate(places[1:])
            )
            known = self._carried.get(second[1])
            if not follows or (known is not None and known is not read[0]):
                return False
            self._carried[second[1]] = read[0]
            return True
        if any(place is not None for place in places):
            return False
        self._scanned.setdefault(read[0], tuple(read))
        return self._scanned[read[0]] == tuple(read)

    def _stacked(self, many: Sequence[Var]) -> tuple[list[Equation], Var] | None:
        """Returns what stacks the variables of all steps, and the stack."""
        found = along_axis(many, self._makers)
        if found is not None:
            equations, _, (stack,) = applied(found.stack, found.source)
        elif self._of_leaves.isdisjoint(many):
            equations, _, (stack,) = applied(
                lambda *items: jax.numpy.stack(items), *many
            )
        else:
            return None
        return (list(equations), stack) if isinstance(stack, Var) else None

    def _with_loop(self, stacks: Sequence[tuple[list[Equation], Var]]) -> Body | None:
        starts = list(self._carried.values())
        last = self._used_outside()
        stacked = [place for place in last if place not in self._carried]
        stacked += [
            place
            for place, steps in last.items()
            if place in self._carried and steps != {self._run.n_steps - 1}
        ]
        step = self._step(stacked)
        n_shared, n_carried = len(self._shared), len(starts)

        def loop(*arguments: Any) -> Any:
            shared = arguments[:n_shared]
            carry = arguments[n_shared : n_shared + n_carried]

            def body(carry: Any, entries: Any) -> Any:
                results = evaluate(step, *shared, *carry, *entries)
                return tuple(results[:n_carried]), tuple(results[n_carried:])

            carry, entries = lax.scan(
                body,
                carry,
                arguments[n_shared + n_carried :],
                length=self._run.n_steps,
            )
            return (*carry, *entries)

        operands = [*self._shared, *starts, *(stack for _, stack in stacks)]
        equations, constants, outputs = applied(loop, *operands)
        renamed, taken = self._taken_out(outputs, last, stacked, n_carried)
        middle = [
            *(equation for many, _ in stacks for equation in many),
            *equations,
            *taken,
        ]
        end = self._run.start + self._run.period * self._run.n_steps
        kept = [*self._first, *self._rest[: self._run.start], *middle]
        kept += [equation.reading(renamed) for equation in self._rest[end:]]
        return Body(
            inputs=self._body.inputs,
            constants=(*self._body.constants, *constants),
            equations=tuple(kept),
            outputs=tuple(substituted(atom, renamed) for atom in self._body.outputs),
        )

    def _step(self, stacked: Sequence[Place]) -> Any:
        """Returns the first block as a jaxpr of what is shared, carried and scanned."""
        block = self._blocks[0]
        equations = [equation.as_jax() for equation in block]
        starts = list(self._carried.values())
        outputs = [
            block[number].outputs[position]
            for number, position in (*self._carried, *stacked)
        ]
        return close([*self._shared, *starts, *self._scanned], (), equations, outputs)

    def _used_outside(self) -> dict[Place, set[int]]:
        """Returns what the rest of the model reads of the run, by place and step."""
        end = self._run.start + self._run.period * self._run.n_steps
        read = [atom for equation in self._rest[end:] for atom in equation.reads]
        read += [atom for atom in self._body.outputs if isinstance(atom, Var)]
        found: dict[Place, set[int]] = {}
        for variable in read:
            if variable in self._places:
                step, place = self._places[variable]
                found.setdefault(place, set()).add(step)
        return found

    def _taken_out(
        self,
        outputs: Sequence[Atom],
        used: Mapping[Place, set[int]],
        stacked: Sequence[Place],
        n_carried: int,
    ) -> tuple[dict[Var, Atom], list[Equation]]:
        """Returns what stands for the run's variables, and what takes them out."""
        renamed: dict[Var, Atom] = {}
        taken: list[Equation] = []
        carried = list(self._carried)
        for place, steps in used.items():
            number, position = place
            for step in sorted(steps):
                variable = self._blocks[step][number].outputs[position]
                if place not in stacked:
                    renamed[variable] = outputs[carried.index(place)]
                    continue
                stack = outputs[n_carried + list(stacked).index(place)]
                equations, _, (entry,) = applied(
                    lambda array, at=step: lax.index_in_dim(array, at, keepdims=False),
                    stack,
                )
                taken += equations
                renamed[variable] = entry
        return renamed, taken
