"""What a rule says of one operand of one equation: which axes are the same axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from ntkplan.ir.equation import Equation
from ntkplan.ir.use import Patches

AxisLabels = tuple[str, ...]
"""Labels of one axis: several where the axis is a product, outermost first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelling:
    """An equation that is linear in one operand, as labels of its axes.

    The operand is called the parameter. Labels are local to the equation.

    Attributes:
        rule: Name of the rule.
        value: Labels of each axis of the equation's output.
        parameter: Labels of each axis of the parameter operand.
        data_operand: Number of the operand that multiplies the parameter, or None.
        activations: Labels of each axis of that operand (after `patches`).
        patches: How that operand is cut into windows, or None.
        sizes: Length of every label.
        factor: A constant by which the map is multiplied.
    """

    rule: str
    value: tuple[AxisLabels, ...]
    parameter: tuple[AxisLabels, ...]
    data_operand: int | None = None
    activations: tuple[AxisLabels, ...] = ()
    patches: Patches | None = None
    sizes: Mapping[str, int]
    factor: float = 1.0


def entrywise_axes(
    operand: Sequence[int], value: Sequence[int]
) -> tuple[AxisLabels, ...]:
    """Returns the labels of an operand of an entrywise equation.

    Such an equation stretches an operand's axes of length one, and scalars.

    Args:
        operand: Shape of the operand.
        value: Shape of the result.

    Returns:
        For each of the operand's axes, the label of the result's axis, or none.
    """
    return tuple(
        (f"axis{number}",) if size == value[number] else ()
        for number, size in enumerate(operand)
    )


UseRule = Callable[[Equation, int], Labelling | None]
"""Labels an equation for one operand; None where it is not linear in a known form."""
