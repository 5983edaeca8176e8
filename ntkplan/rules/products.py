"""Rules for products with data: `dot_general` and `mul`."""

from __future__ import annotations

from ntkplan._jax import Literal
from ntkplan.ir.equation import Equation
from ntkplan.rules.labelling import Labelling


def dot_general(equation: Equation, operand: int) -> Labelling:
    """Labels a matrix product with the parameter on either side.

    The output's axes are the batch axes, then the free axes of the left operand, then
    those of the right one (jax.lax.dot_general).
    """
    contracted, batched = equation.parameters["dimension_numbers"]
    other = 1 - operand
    labels: list[dict[int, str]] = [{}, {}]
    for name, pairs in (("contracted", contracted), ("batch", batched)):
        for number, axes in enumerate(zip(*pairs, strict=True)):
            for side in (0, 1):
                labels[side][axes[side]] = f"{name}{number}"
    free: list[list[str]] = [[], []]
    for side, name in ((operand, "out"), (other, "position")):
        for axis in range(equation.inputs[side].aval.ndim):
            if axis not in labels[side]:
                labels[side][axis] = f"{name}{len(free[side])}"
                free[side].append(labels[side][axis])
    batch = [f"batch{number}" for number in range(len(batched[0]))]
    sizes = {
        label: equation.inputs[side].aval.shape[axis]
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
        data_operand=other,
        activations=sides[other],
        sizes=sizes,
    )


def multiply(equation: Equation, operand: int) -> Labelling | None:
    """Labels an entrywise product; a scalar operand has no axes to label."""
    (value,) = equation.outputs
    shape = value.aval.shape
    axes = tuple((f"axis{number}",) for number in range(len(shape)))
    other = equation.inputs[1 - operand]
    sizes = {f"axis{number}": length for number, length in enumerate(shape)}
    parameter = axes if equation.inputs[operand].aval.shape == shape else ()
    if isinstance(other, Literal):
        return Labelling(
            rule="mul",
            value=axes,
            parameter=parameter,
            sizes=sizes,
            factor=float(other.val),
        )
    return Labelling(
        rule="mul",
        value=axes,
        parameter=parameter,
        data_operand=1 - operand,
        activations=axes if other.aval.shape == shape else (),
        sizes=sizes,
    )
