"""Rules for look-ups: rows of a parameter at indices that are data.

A look-up is a product with a one-hot matrix, value `[s, d]`, activations `[s, v]`,
parameter `[v, d]`, of which only the indices are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import GatherScatterMode

from ntkplan._jax import Primitive, Var, array_dtype, array_shape, primitives
from ntkplan.rules import axes
from ntkplan.rules.axes import Axis, AxisMap, Scale
from ntkplan.rules.labelling import Labelling
from ntkplan.rules.step import Step


def gather(step: Step) -> Labelling | None:
    """Labels a gather along one axis; None where several are indexed at once.

    Of an axis of length one there is one row, and the data side is whether it is taken.
    """
    if step.operand != 0:
        return None
    parameters = step.equation.parameters
    numbers, window = parameters["dimension_numbers"], parameters["slice_sizes"]
    operand, indices = step.equation.inputs[:2]
    shape = array_shape(operand)
    indexed = [axis for axis, size in enumerate(window) if size != shape[axis]]
    indexed = [axis for axis in indexed if axis not in numbers.operand_batching_dims]
    if not indexed and len(numbers.start_index_map) == 1:
        indexed = list(numbers.start_index_map)
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
    sizes = dict(zip(labels, window, strict=True)) | {
        label: size
        for group, size in zip(value, step.result_shape, strict=True)
        for label in group
    }
    length, single = window[axis], shape[axis] == 1
    dtype = array_dtype(operand)

    # An index that was promised to be in bounds and is not is dropped by JAX's
    # transpose, whatever the value is.
    drops = parameters["mode"] != GatherScatterMode.CLIP

    def rows(starts: Any) -> Any:
        found = _rows(starts[..., column], shape[axis], length, drops)
        return (found == 0).astype(dtype) if single else found

    spans = (labels[axis],) if length > 1 else ()
    if not single:
        labels[axis] = "rows"
    return Labelling(
        rule="gather",
        value=value,
        parameter=tuple((label,) for label in labels),
        recorded=step.derive(rows, indices),
        activations=tuple((label,) for label in (*batch, *spans)),
        hot=None if single else "rows",
        sizes=sizes if single else sizes | {"rows": shape[axis]},
    )


def carry(step: Step, axis_map: AxisMap) -> AxisMap | None:
    """Carries an axis map through a look-up at indices that are no data.

    The leaf is multiplied by a one-hot array, of which the indices are kept.
    """
    labelling = _RULES[step.equation.primitive](step)
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
        rule=step.name,
        hot=hot.atoms[0],
    )
    return axes.with_axes(
        axis_map,
        (parts[label] for (label,) in labelling.value),
        scales=(*axis_map.scales, scale),
    )


def carry_update(step: Step, axis_map: AxisMap) -> AxisMap | None:
    """Carries the map of a scatter's updates to its result.

    Entry r of the updates is row v of the result where v is the index of r. Where one
    index may overwrite another the result does not depend on all updates.
    """
    parameters = step.equation.parameters
    numbers = parameters["dimension_numbers"]
    indices, updates = step.equation.inputs[1:]
    rank = len(array_shape(updates))
    batch = [at for at in range(rank) if at not in numbers.update_window_dims]
    n_indices = math.prod(array_shape(updates)[at] for at in batch)
    adds = step.equation.primitive is primitives.scatter_add_p
    if not (adds or parameters["unique_indices"] or n_indices == 1):
        return None
    if numbers.operand_batching_dims:
        return None
    shape = step.result_shape
    windows = iter(numbers.update_window_dims)
    window = [
        None if axis in numbers.inserted_window_dims else next(windows)
        for axis in range(len(shape))
    ]
    lengths = [1 if at is None else array_shape(updates)[at] for at in window]
    indexed = [axis for axis, size in enumerate(shape) if lengths[axis] != size]
    mapped = numbers.scatter_dims_to_operand_dims
    if len(indexed) != 1 or indexed[0] not in mapped:
        return None
    (axis,) = indexed
    column, length = mapped.index(axis), lengths[axis]
    drops = parameters["mode"] == GatherScatterMode.FILL_OR_DROP
    if len(mapped) > 1 and drops:
        return None
    rows = step.derive(
        lambda starts: _rows(starts[..., column], shape[axis], length, drops), indices
    )
    held = [axis_map.axes[at] for at in batch]
    spanned = window[axis]
    if length > 1 and spanned is not None:
        held.append(axis_map.axes[spanned])
    row = axes.made_axis(step.number, axis, shape[axis])
    if any(item.placement for item in held) or not row.atoms:
        return None
    scale = Scale(
        variable=rows,
        axes=tuple(item.atoms for item in held),
        depth=step.depth,
        rule=step.name,
        hot=row.atoms[0],
    )
    result = [
        row if number == axis else Axis() if at is None else axis_map.axes[at]
        for number, at in enumerate(window)
    ]
    return axes.with_axes(axis_map, result, scales=(*axis_map.scales, scale))


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
    if not indexed:
        return _unmoved(step)
    if len(indexed) != 1:
        return None
    (axis,) = indexed
    rows = step.derive(
        lambda start: _rows(start, shape[axis], window[axis], False),
        step.equation.inputs[1 + axis],
    )
    return _along(step, axis, rows)


def _along(step: Step, axis: int, rows: Var) -> Labelling:
    """Labels a result that has chosen rows of its first operand along one axis."""
    shape, window = array_shape(step.equation.inputs[0]), step.result_shape
    labels = [f"axis{number}" for number in range(len(shape))]
    value = tuple((label,) for label in labels)
    sizes = dict(zip(labels, window, strict=True)) | {"rows": shape[axis]}
    spans = ((labels[axis],),) if window[axis] > 1 else ()
    labels[axis] = "rows"
    return Labelling(
        rule=step.name,
        value=value,
        parameter=tuple((label,) for label in labels),
        recorded=rows,
        activations=spans,
        hot="rows",
        sizes=sizes,
    )


def _unmoved(step: Step) -> Labelling:
    """Labels a slice of everything, which starts at zero whatever its index is."""
    shape = step.result_shape
    labels = tuple((f"axis{number}",) for number in range(len(shape)))
    return Labelling(
        rule="dynamic_slice",
        value=labels,
        parameter=labels,
        sizes={f"axis{number}": size for number, size in enumerate(shape)},
    )


def _fixed(step: Step) -> Labelling | None:
    """Labels a slice or a reversal along one axis as a look-up of its entries."""
    shape = array_shape(step.equation.inputs[0])
    indices = [range(size) for size in shape]
    parameters = step.equation.parameters
    if step.equation.primitive is primitives.rev_p:
        for axis in parameters["dimensions"]:
            indices[axis] = indices[axis][::-1]
    else:
        bounds = (parameters["start_indices"], parameters["limit_indices"])
        strides = parameters["strides"] or (1,) * len(shape)
        indices = [range(*item) for item in zip(*bounds, strides, strict=True)]
    moved = [axis for axis, size in enumerate(shape) if indices[axis] != range(size)]
    if len(moved) != 1:
        return None
    (axis,) = moved
    chosen = indices[axis]

    def rows() -> Any:
        if len(chosen) == 1:
            return jnp.int32(chosen.start)
        return chosen.start + chosen.step * jax.lax.iota(jnp.int32, len(chosen))

    return _along(step, axis, step.derive(rows))


_RULES: Mapping[Primitive, Callable[[Step], Labelling | None]] = {
    primitives.gather_p: gather,
    primitives.dynamic_slice_p: dynamic_slice,
    primitives.slice_p: _fixed,
    primitives.rev_p: _fixed,
}
