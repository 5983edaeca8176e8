"""What a rule says of one operand of one equation: which axes are the same axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from ntkplan.ir.equation import Atom as Operand
from ntkplan.ir.use import Patches
from ntkplan.rules.axes import Placement
from ntkplan.rules.step import Step

AxisLabels = tuple[str, ...]
"""Labels of one axis: several where the axis is a product, outermost first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelling:
    """An equation that is linear in one operand, as labels of its axes.

    The operand is called the parameter. Labels are local to the equation. Where the
    equation is not linear in it, this is its derivative at the point of evaluation.

    Attributes:
        rule: Name of the rule.
        value: Labels of each axis of the equation's output.
        parameter: Labels of each axis of the parameter operand.
        recorded: What holds the data side, or None where it is constant.
        activations: Labels of each axis of that (after `patches`).
        patches: How it is cut into windows, or None.
        hot: A label of the parameter along which the data side is one at the index
            that `recorded` holds and zero elsewhere; `activations` are the labels of
            the indices. An index that is out of bounds stands for no entry.
        sizes: Length of every label.
        placements: Labels that take up a part only of the value's axis that has them.
        factor: A constant by which the map is multiplied.
    """

    rule: str
    value: tuple[AxisLabels, ...]
    parameter: tuple[AxisLabels, ...]
    recorded: Operand | None = None
    activations: tuple[AxisLabels, ...] = ()
    patches: Patches | None = None
    hot: str | None = None
    sizes: Mapping[str, int]
    placements: Mapping[str, Placement] = dataclasses.field(default_factory=dict)
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


UseRule = Callable[[Step], Labelling | None]
"""Labels an equation for one operand; None where it is not linear in a known form."""
