"""Rules for look-ups: rows of a parameter at indices that are data.

A look-up is a product with a one-hot matrix, value `[s, d]`, activations `[s, v]`,
parameter `[v, d]`, of which only the indices are kept.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import GatherScatterMode

from ntkplan._jax import Var, array_shape, primitives
from ntkplan.rules import axes
from ntkplan.rules.axes import Axis, AxisMap, Scale
from ntkplan.rules.labelling import Labelling
from ntkplan.rules.step import Step


def gather(step: Step) -> Labelling | None:
    """Labels a gather along one axis; None where several are indexed at once."""
    if step.operand != 0:
        return None
    parameters = step.equation.parameters
    numbers, window = parameters["dimension_numbers"], parameters["slice_sizes"]
    operand, indices = step.equation.inputs[:2]
    shape = array_shape(operand)
    indexed = [axis for axis, size in enumerate(window) if size != shape[axis]]
    indexed = [axis for axis in indexed if axis not in numbers.operand_batching_dims]
    if len(indexed) != 1 or indexed[0] not in numbers.start_index_map:
        return None
    (axis,) = indexed
    fills = parameters["mode"] == GatherScatterMode.FILL_OR_DROP
    if fills and len(numbers.start_index_map) > 1:
        return None
    batch = [f"batch{number}" for number in range(len(array_shape(indices)) - 1)]
    column = numbers.start_index_map.index(axis)
    labels = _operand_labels(numbers, len(shape), batch)
    value = _value_labels(numbers, labels, batch, len(step.result_shape))
    sizes = {
        label: size
        for group, size in zip(value, step.result_shape, strict=True)
        for label in group
    }
    length = window[axis]
    rows = step.derive(
        lambda starts: _rows(starts[..., column], shape[axis], length, fills), indices
    )
    spans = (labels[axis],) if length > 1 else ()
    labels[axis] = "rows"
    return Labelling(
        rule="gather",
        value=value,
        parameter=tuple((label,) for label in labels),
        recorded=rows,
        activations=tuple((label,) for label in (*batch, *spans)),
        hot="rows",
        sizes=sizes | {"rows": shape[axis]},
    )


def carry(step: Step, axis_map: AxisMap) -> AxisMap | None:
    """Carries an axis map through a look-up at indices that are no data.

    The leaf is multiplied by a one-hot array, of which the indices are kept.
    """
    labelling = (
        gather(step)
        if step.equation.primitive is primitives.gather_p
        else dynamic_slice(step)
    )
    if labelling is None or not isinstance(labelling.recorded, Var):
        return None
    parts: dict[str, Axis] = {}
    hot: Axis | None = None
    for (label,), axis in zip(labelling.parameter, axis_map.axes, strict=True):
        if label == labelling.hot:
            hot = axis
        else:
            parts[label] = axis
    if hot is None or hot.placement is not None or len(hot.atoms) != 1:
        return None
    if hot.atoms[0].axis < 0:
        return None
    for position, (label,) in enumerate(labelling.value):
        if label not in parts:
            size = labelling.sizes[label]
            parts[label] = axes.made_axis(step.number, position, size)
    if any(parts[label].placement for (label,) in labelling.activations):
        return None
    scale = Scale(
        variable=labelling.recorded,
        axes=tuple(parts[label].atoms for (label,) in labelling.activations),
        depth=step.depth,
        hot=hot.atoms[0],
    )
    return axes.with_axes(
        axis_map,
        (parts[label] for (label,) in labelling.value),
        scales=(*axis_map.scales, scale),
    )


def _operand_labels(numbers: Any, rank: int, batch: list[str]) -> list[str]:
    """Labels the operand's axes; batching axes are those of the indices."""
    labels = [f"axis{number}" for number in range(rank)]
    for mine, other in zip(
        numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
    ):
        labels[mine] = batch[other]
    return labels


def _value_labels(
    numbers: Any, labels: list[str], batch: list[str], rank: int
) -> tuple[tuple[str, ...], ...]:
    """Labels the value's axes: windows at the offset axes, the indices' elsewhere."""
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    windows = iter(
        label for number, label in enumerate(labels) if number not in dropped
    )
    counted = iter(batch)
    return tuple(
        (next(windows if number in numbers.offset_dims else counted),)
        for number in range(rank)
    )


def _rows(starts: Any, size: int, length: int, fills: bool) -> Any:
    """Returns the rows that are looked up, `size` and above for none."""
    starts = starts.astype(jnp.promote_types(starts.dtype, jnp.int32))
    last = size - length
    if fills:
        inside = (starts >= 0) & (starts <= last)
        starts = jnp.where(inside, starts, size)
    else:
        starts = jnp.clip(starts, 0, last)
    if length == 1:
        return starts
    steps = jax.lax.broadcasted_iota(starts.dtype, (*starts.shape, length), starts.ndim)
    return starts[..., None] + steps


def dynamic_slice(step: Step) -> Labelling | None:
    """Labels a slice along one axis that starts at an index which is data."""
    if step.operand != 0:
        return None
    shape, window = array_shape(step.equation.inputs[0]), step.result_shape
    indexed = [axis for axis, size in enumerate(window) if size != shape[axis]]
    if len(indexed) != 1:
        return None
    (axis,) = indexed
    labels = [f"axis{number}" for number in range(len(shape))]
    value = tuple((label,) for label in labels)
    sizes = dict(zip(labels, window, strict=True)) | {"rows": shape[axis]}
    rows = step.derive(
        lambda start: _rows(start, shape[axis], window[axis], False),
        step.equation.inputs[1 + axis],
    )
    spans = ((labels[axis],),) if window[axis] > 1 else ()
    labels[axis] = "rows"
    return Labelling(
        rule="dynamic_slice",
        value=value,
        parameter=tuple((label,) for label in labels),
        recorded=rows,
        activations=spans,
        hot="rows",
        sizes=sizes,
    )
