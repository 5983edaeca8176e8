"""Whether the examples of a batch are independent of each other."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ntkplan.errors import InteractingExamplesError, UndecidedIndependenceWarning
from ntkplan.ir.equation import Body, Equation
from ntkplan.trace.axis_rules.factor import Factor, shape_of
from ntkplan.trace.axis_rules.state import Held, Lost, State
from ntkplan.trace.axis_rules.walk import walk
from ntkplan.trace.example_probe import probe_independence

__all__ = [
    "Independent",
    "Mixing",
    "Undecided",
    "Verdict",
    "check_examples",
    "equation_text",
    "follow_examples",
    "probe_independence",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Independent:
    """Proven: every element of an output depends on one example at most.

    Attributes:
        output_axes: For each output the position of its example axis, or None where it
            does not depend on the data.
        merged_outputs: Which outputs have their example axis merged with another, so
            that its length is a multiple of the number of examples.
    """

    output_axes: tuple[int | None, ...]
    merged_outputs: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixing:
    """Proven, by structure: an output depends on several examples at once.

    Attributes:
        equation: Where they first come together.
        why: What it does, as a clause about "it".
    """

    equation: Equation
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Undecided:
    """Neither proven.

    Attributes:
        equation: Where the proof gets stuck.
        why: What is unclear, as a clause about "it".
    """

    equation: Equation
    why: str


Verdict = Independent | Mixing | Undecided


def follow_examples(
    body: Body, *, data_inputs: Sequence[int], batch_axis: int, n_examples: int
) -> Verdict:
    """Follows the example axis through flat code over a whole batch.

    Args:
        body: The function of a batch of `n_examples`, data among its inputs.
        data_inputs: Which inputs hold examples.
        batch_axis: The example axis of these inputs.
        n_examples: How many examples the batch has: a prime that no other axis is a
            multiple of. The proof does not rest on sizes, but with another number
            more stays undecided.

    Returns:
        What is proven.

    Raises:
        ValueError: There are fewer than two examples, or an input has another number.
    """
    if n_examples < 2:
        raise ValueError(f"n_examples is {n_examples}; it takes two to interact")
    for index in data_inputs:
        shape = shape_of(body.inputs[index])
        has_axis = 0 <= batch_axis < len(shape)
        if not has_axis or shape[batch_axis] != n_examples:
            raise ValueError(
                f"input {index} has the shape {shape}, "
                f"without {n_examples} examples on axis {batch_axis}"
            )
    own = Factor(position=batch_axis, before=1, count=n_examples, after=1)
    data = set(data_inputs)
    states = [
        Held(examples=(own,)) if index in data else Held()
        for index in range(len(body.inputs))
    ]
    return _verdict(walk(body, states, n_examples))


def _verdict(outputs: Sequence[State]) -> Verdict:
    """Returns the worst that is known of any output, certainty before doubt."""
    lost = [state for state in outputs if isinstance(state, Lost)]
    held = [state for state in outputs if isinstance(state, Held)]
    certain = [
        *(state.finding for state in lost if state.certain),
        *(
            state.paired
            for state in held
            if state.paired and not (state.doubt and state.doubt.masks)
        ),
    ]
    if certain:
        return Mixing(equation=certain[0].equation, why=certain[0].why)
    unclear = [
        *(state.finding for state in lost),
        *(state.doubt for state in held if state.doubt is not None),
    ]
    if unclear:
        return Undecided(equation=unclear[0].equation, why=unclear[0].why)
    axes = [state.examples[0] if state.examples else None for state in held]
    return Independent(
        output_axes=tuple(None if axis is None else axis.position for axis in axes),
        merged_outputs=tuple(
            index
            for index, axis in enumerate(axes)
            if axis is not None and not axis.alone
        ),
    )


def check_examples(
    body: Body,
    *,
    data_inputs: Sequence[int],
    batch_axis: int,
    n_examples: int,
    function: Callable[..., Any] | None = None,
    arguments: Sequence[Any] | None = None,
    output_axis: int = 0,
    stacklevel: int = 2,
) -> Independent | Undecided:
    """Refuses functions whose examples interact, and warns where that is not proven.

    Args:
        body: The function of a batch of `n_examples`.
        data_inputs: Which inputs, of the body and among `arguments`, hold examples.
        batch_axis: The example axis of these inputs.
        n_examples: How many examples the body's batch has.
        function: The same function of flat arguments, for any number of examples.
        arguments: Arrays to test it on, or None if there are only shapes.
        output_axis: The example axis that the test takes every output to have.
        stacklevel: Of the warning, as for `warnings.warn`.

    Returns:
        The verdict.

    Raises:
        InteractingExamplesError: The examples were proven or found to interact.
    """
    verdict = follow_examples(
        body, data_inputs=data_inputs, batch_axis=batch_axis, n_examples=n_examples
    )
    if isinstance(verdict, Independent):
        return verdict
    if isinstance(verdict, Mixing):
        raise _error(verdict.equation, verdict.why)
    tested = False
    if function is not None and arguments is not None:
        tested = True
        if not probe_independence(
            function,
            arguments,
            batch_axis,
            data_inputs=data_inputs,
            output_axis=output_axis,
        ):
            found = "on the given arrays, an example's output changed with the others"
            raise _error(verdict.equation, f"{verdict.why}; {found}")
    warnings.warn(
        UndecidedIndependenceWarning(
            equation=equation_text(verdict.equation),
            primitive=verdict.equation.primitive.name,
            source=verdict.equation.source,
            why=verdict.why,
            tested=tested,
        ),
        stacklevel=stacklevel,
    )
    return verdict


def equation_text(equation: Equation) -> str:
    """Returns an equation as `reduce_sum(float32[13,5]) -> float32[5]`."""

    def listed(atoms: Sequence[Any]) -> str:
        return ", ".join(atom.aval.str_short() for atom in atoms)

    return (
        f"{equation.primitive.name}({listed(equation.inputs)}) -> "
        f"{listed(equation.outputs)}"
    )


def _error(equation: Equation, why: str) -> InteractingExamplesError:
    return InteractingExamplesError(
        equation=equation_text(equation),
        primitive=equation.primitive.name,
        source=equation.source,
        why=why,
    )
