"""Rules for products with data: `dot_general`, `mul` and entrywise derivatives."""

from __future__ import annotations

from ntkplan._jax import Literal, array_shape
from ntkplan.rules.entrywise import is_entrywise
from ntkplan.rules.labelling import Labelling, entrywise_axes
from ntkplan.rules.step import Step


def dot_general(step: Step) -> Labelling:
    """Labels a matrix product with the parameter on either side.

    The output's axes are the batch axes, then the free axes of the left operand, then
    those of the right one (jax.lax.dot_general).
    """
    equation, operand = step.equation, step.operand
    contracted, batched = equation.parameters["dimension_numbers"]
    other = 1 - operand
    labels: list[dict[int, str]] = [{}, {}]
    for name, pairs in (("contracted", contracted), ("batch", batched)):
        for number, axes in enumerate(zip(*pairs, strict=True)):
            for side in (0, 1):
                labels[side][axes[side]] = f"{name}{number}"
    free: list[list[str]] = [[], []]
    for side, name in ((operand, "out"), (other, "position")):
        for axis in range(len(array_shape(equation.inputs[side]))):
            if axis not in labels[side]:
                labels[side][axis] = f"{name}{len(free[side])}"
                free[side].append(labels[side][axis])
    batch = [f"batch{number}" for number in range(len(batched[0]))]
    sizes = {
        label: array_shape(equation.inputs[side])[axis]
        for side in (0, 1)
        for axis, label in labels[side].items()
    }
    sides = [
        tuple((labels[side][axis],) for axis in range(len(labels[side])))
        for side in (0, 1)
    ]
    return Labelling(
        rule="dot_general",
        value=tuple((label,) for label in (*batch, *free[0], *free[1])),
        parameter=sides[operand],
        recorded=equation.inputs[other],
        activations=sides[other],
        sizes=sizes,
    )


def multiply(step: Step) -> Labelling:
    """Labels an entrywise product."""
    shape = step.result_shape
    other = step.equation.inputs[1 - step.operand]
    constant = isinstance(other, Literal)
    return Labelling(
        rule="mul",
        value=entrywise_axes(shape, shape),
        parameter=entrywise_axes(
            array_shape(step.equation.inputs[step.operand]), shape
        ),
        recorded=None if constant else other,
        activations=() if constant else entrywise_axes(array_shape(other), shape),
        sizes={f"axis{number}": length for number, length in enumerate(shape)},
        factor=float(other.val) if constant else 1.0,
    )


def entrywise(step: Step) -> Labelling | None:
    """Labels any entrywise equation: its derivative multiplies the parameter's."""
    if not is_entrywise(step.equation, step.operand):
        return None
    shape = step.result_shape
    operand = array_shape(step.equation.inputs[step.operand])
    return Labelling(
        rule=step.equation.primitive.name,
        value=entrywise_axes(shape, shape),
        parameter=entrywise_axes(operand, shape),
        recorded=step.partial(),
        activations=entrywise_axes(shape, shape),
        sizes={f"axis{number}": length for number, length in enumerate(shape)},
    )
