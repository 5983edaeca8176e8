"""Rules for sums with data and for joining it: `add`, `sub`, `concatenate`, `stack`."""

from __future__ import annotations

from ntkplan._jax import array_shape
from ntkplan.rules.axes import Placement
from ntkplan.rules.labelling import Labelling, entrywise_axes
from ntkplan.rules.step import Step


def add(step: Step) -> Labelling:
    """Labels an entrywise sum: the parameter is multiplied by one."""
    return _entrywise(step, rule="add", factor=1.0)


def subtract(step: Step) -> Labelling:
    """Labels an entrywise difference: the right operand is multiplied by minus one."""
    return _entrywise(step, rule="sub", factor=-1.0 if step.operand else 1.0)


def _entrywise(step: Step, *, rule: str, factor: float) -> Labelling:
    shape = step.result_shape
    return Labelling(
        rule=rule,
        value=entrywise_axes(shape, shape),
        parameter=entrywise_axes(
            array_shape(step.equation.inputs[step.operand]), shape
        ),
        sizes={f"axis{number}": length for number, length in enumerate(shape)},
        factor=factor,
    )


def concatenate(step: Step) -> Labelling:
    """Labels a concatenation: the parameter is a part of the value."""
    dimension = step.equation.parameters["dimension"]
    shape = array_shape(step.equation.inputs[step.operand])
    before = step.equation.inputs[: step.operand]
    labels = tuple((f"axis{number}",) for number in range(len(shape)))
    placement = Placement(
        low=sum(array_shape(operand)[dimension] for operand in before),
        step=1,
        size=step.result_shape[dimension],
    )
    return Labelling(
        rule="concatenate",
        value=labels,
        parameter=labels,
        sizes={f"axis{number}": length for number, length in enumerate(shape)},
        placements={f"axis{dimension}": placement},
    )


def stack(step: Step) -> Labelling:
    """Labels a stack: the parameter is one of the value's entries along a new axis."""
    at, many = step.equation.parameters["axis"], len(step.equation.inputs)
    shape = array_shape(step.equation.inputs[step.operand])
    labels = tuple((f"axis{number}",) for number in range(len(shape)))
    sizes = {f"axis{number}": length for number, length in enumerate(shape)}
    return Labelling(
        rule="stack",
        value=(*labels[:at], ("stacked",), *labels[at:]),
        parameter=labels,
        sizes=sizes | {"stacked": 1},
        placements={"stacked": Placement(low=step.operand, step=1, size=many)},
    )
