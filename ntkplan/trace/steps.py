"""Arrays of the steps of a loop that lie one after the other in one array."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
from jax import lax

from ntkplan._jax import Var, array_shape, primitives
from ntkplan.ir.equation import Equation


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stacked:
    """How the arrays of all steps are read from one array at once.

    Attributes:
        source: The array.
        stack: Makes of it an array whose first axis counts the steps.
    """

    source: Var
    stack: Callable[[jax.Array], jax.Array]


def along_axis(many: Sequence[Var], makers: Mapping[Var, Equation]) -> Stacked | None:
    """Recognizes the entries of one array along one axis, in even steps.

    Args:
        many: An array for every step.
        makers: The equations that define arrays, by what they define.

    Returns:
        None where they are anything else.
    """
    squeezes = [makers.get(variable) for variable in many]
    slices: list[Equation] = []
    dimensions = None
    for squeeze in squeezes:
        if squeeze is None or squeeze.primitive is not primitives.squeeze_p:
            return None
        (inner,) = squeeze.inputs
        maker = makers.get(inner) if isinstance(inner, Var) else None
        if maker is None or maker.primitive is not primitives.slice_p:
            return None
        if dimensions not in (None, squeeze.parameters["dimensions"]):
            return None
        dimensions = squeeze.parameters["dimensions"]
        slices.append(maker)
    (source,) = slices[0].inputs
    if not isinstance(source, Var) or any(
        item.inputs != (source,) or item.parameters["strides"] for item in slices
    ):
        return None
    starts = [item.parameters["start_indices"] for item in slices]
    windows = {array_shape(item.outputs[0]) for item in slices}
    moved = [
        axis
        for axis, ends in enumerate(zip(*starts, strict=True))
        if len(set(ends)) > 1
    ]
    if len(windows) != 1 or len(moved) != 1 or moved[0] not in (dimensions or ()):
        return None
    (axis,) = moved
    step = starts[1][axis] - starts[0][axis]
    begin = starts[0][axis]
    if step <= 0 or any(
        start[axis] != begin + number * step for number, start in enumerate(starts)
    ):
        return None
    (window,) = windows
    limits = [start + size for start, size in zip(starts[0], window, strict=True)]
    limits[axis] = begin + (len(many) - 1) * step + 1
    strides = [step if number == axis else 1 for number in range(len(window))]
    others = [number for number in dimensions or () if number != axis]

    def stack(array: jax.Array) -> jax.Array:
        part = lax.slice(array, starts[0], limits, strides)
        left = axis - sum(number < axis for number in others)
        return jax.numpy.moveaxis(lax.squeeze(part, others), left, 0)

    return Stacked(source=source, stack=stack)
