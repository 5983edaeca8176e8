"""Linear and elementwise data-free equations between a leaf and its uses.

Each rule carries an axis map from an operand of an equation to its result, whose other
operands are data-free too. An elementwise function of a leaf multiplies its derivative
by a data-free array, as does a product with one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import numpy

from ntkplan._jax import Literal, Primitive, Var, array_dtype, array_shape, primitives
from ntkplan.ir.equation import Atom as Operand
from ntkplan.rules import axes, cuts, lookups
from ntkplan.rules.axes import Absent, Axis, AxisMap, Scale
from ntkplan.rules.entrywise import is_entrywise
from ntkplan.rules.step import Step, is_real

Carried = AxisMap | Absent | None
PrefixRule = Callable[[Step, AxisMap], Carried]
"""Carries an axis map through an equation; None where it is no prefix, `ABSENT` where
the result has no entry of the leaf."""


def _transpose(step: Step, axis_map: AxisMap) -> Carried:
    permutation = step.equation.parameters["permutation"]
    return axes.with_axes(axis_map, (axis_map.axes[axis] for axis in permutation))


def _reshape(step: Step, axis_map: AxisMap) -> Carried:
    order = step.equation.parameters["dimensions"]
    if order is not None:
        axis_map = axes.with_axes(axis_map, (axis_map.axes[axis] for axis in order))
    return axes.reshaped(axis_map, step.result_shape)


def _squeeze(step: Step, axis_map: AxisMap) -> Carried:
    return axes.reshaped(axis_map, step.result_shape)


def _broadcast(step: Step, axis_map: AxisMap) -> Carried:
    dimensions = step.equation.parameters["broadcast_dimensions"]
    result = [
        axes.made_axis(step.number, position, size)
        for position, size in enumerate(step.result_shape)
    ]
    for source, target in enumerate(dimensions):
        if axis_map.axes[source].size == step.result_shape[target]:
            result[target] = axis_map.axes[source]
    return axes.with_axes(axis_map, result)


def _cast(step: Step, axis_map: AxisMap) -> Carried:
    target = array_dtype(step.equation.outputs[0])
    return axis_map if jax.numpy.issubdtype(target, numpy.floating) else None


def _negate(step: Step, axis_map: AxisMap) -> Carried:
    return axes.scaled(axis_map, -1.0)


def _stretched(step: Step, axis_map: AxisMap) -> AxisMap:
    """Returns the map of an operand after an entrywise equation has stretched it."""
    shape = step.result_shape
    if axis_map.shape == shape:
        return axis_map
    if not axis_map.axes:
        made = (axes.made_axis(step.number, at, size) for at, size in enumerate(shape))
        return axes.with_axes(axis_map, made)
    return axes.with_axes(
        axis_map,
        (
            axis if axis.size == size else axes.made_axis(step.number, position, size)
            for position, (axis, size) in enumerate(
                zip(axis_map.axes, shape, strict=True)
            )
        ),
    )


def _add(step: Step, axis_map: AxisMap) -> Carried:
    return _stretched(step, axis_map)


def _subtract(step: Step, axis_map: AxisMap) -> Carried:
    return axes.scaled(_stretched(step, axis_map), -1.0 if step.operand else 1.0)


def _multiply(step: Step, axis_map: AxisMap) -> Carried:
    other = step.equation.inputs[1 - step.operand]
    stretched = _stretched(step, axis_map)
    if isinstance(other, Literal) and numpy.ndim(other.val) == 0:
        return axes.scaled(stretched, float(other.val))
    return _times(step, stretched, other)


def _divide(step: Step, axis_map: AxisMap) -> Carried:
    divisor = step.equation.inputs[1]
    if step.operand == 0 and isinstance(divisor, Literal):
        return axes.scaled(_stretched(step, axis_map), 1.0 / float(divisor.val))
    return entrywise(step, axis_map)


def _times(step: Step, axis_map: AxisMap, other: Operand) -> Carried:
    """Multiplies by an array of the result's shape, or one that is stretched to it."""
    if not isinstance(other, Var):
        return None
    found = []
    for number, size in enumerate(array_shape(other)):
        axis = axis_map.axes[number]
        if size > 1 and axis.placement is not None:
            return None
        found.append(axis.atoms if size > 1 else ())
    scale = Scale(variable=other, axes=tuple(found), depth=step.depth, rule=step.name)
    return dataclasses.replace(axis_map, scales=(*axis_map.scales, scale))


def entrywise(step: Step, axis_map: AxisMap) -> Carried:
    """Carries a map through an equation that is entrywise in the operand."""
    if not is_entrywise(step.equation, step.operand):
        return None
    stretched = _stretched(step, axis_map)
    if any(axis.placement is not None for axis in stretched.axes):
        return None
    return _times(step, stretched, step.partial())


def _dot_general(step: Step, axis_map: AxisMap) -> Carried:
    """Carries a map through a product with a data-free matrix."""
    contracted, batched = step.equation.parameters["dimension_numbers"]
    mine, other = step.operand, 1 - step.operand
    variable = step.equation.inputs[other]
    if isinstance(variable, Literal) and not array_shape(variable):
        return axes.scaled(axis_map, float(variable.val))
    if not isinstance(variable, Var):
        return None
    paired = dict(zip(contracted[other], contracted[mine], strict=True))
    paired |= dict(zip(batched[other], batched[mine], strict=True))
    if any(axis_map.axes[axis].placement is not None for axis in paired.values()):
        return None
    if math.prod(step.result_shape) < math.prod(axis_map.shape):
        # What is small is cheaper to tap than to look through.
        return None
    made: list[Axis] = []
    scale: list[tuple[axes.Atom, ...]] = []
    for number, size in enumerate(array_shape(variable)):
        if number in paired:
            scale.append(axis_map.axes[paired[number]].atoms)
        else:
            made.append(axes.made_axis(step.number, number, size))
            scale.append(made[-1].atoms)
    joined = [axis_map.axes[axis] for axis in batched[mine]]
    free = [
        axis
        for number, axis in enumerate(axis_map.axes)
        if number not in (*contracted[mine], *batched[mine])
    ]
    order = [*joined, *free, *made] if mine == 0 else [*joined, *made, *free]
    scales = (
        Scale(variable=variable, axes=tuple(scale), depth=step.depth, rule=step.name),
    )
    return axes.with_axes(axis_map, order, scales=(*axis_map.scales, *scales))


def _reduce_sum(step: Step, axis_map: AxisMap) -> Carried:
    """Sums over axes: the leaf is multiplied by ones and the product summed."""
    reduced = step.equation.parameters["axes"]
    gone = [axis_map.axes[number] for number in reduced]
    if any(axis.placement is not None for axis in gone):
        return None
    left = [axis for number, axis in enumerate(axis_map.axes) if number not in reduced]
    atoms = [atom for axis in gone for atom in axis.atoms]
    bare = tuple(
        atom for atom in atoms if atom.axis >= 0 and atom not in axis_map.scaled_atoms
    )
    repeats = math.prod(
        atom.size
        for atom in atoms
        if atom.axis < 0 and atom not in axis_map.scaled_atoms
    )
    carried = axes.with_axes(axes.scaled(axis_map, float(repeats)), left)
    if not bare:
        return carried
    sizes = tuple(atom.size for atom in bare)
    dtype = array_dtype(step.equation.outputs[0])
    ones = step.derive(lambda: jax.numpy.ones(sizes, dtype))
    scale = Scale(
        variable=ones,
        axes=tuple((atom,) for atom in bare),
        depth=step.depth,
        rule=step.name,
    )
    return dataclasses.replace(carried, scales=(*carried.scales, scale))


def _slice(step: Step, axis_map: AxisMap) -> Carried:
    if step.result_shape == axis_map.shape:
        return axis_map
    if step.whole:
        return lookups.carry(step, axis_map)
    parameters = step.equation.parameters
    steps = parameters["strides"] or (1,) * len(axis_map.axes)
    return cuts.sliced(
        step, axis_map, parameters["start_indices"], parameters["limit_indices"], steps
    )


def _dynamic_slice(step: Step, axis_map: AxisMap) -> Carried:
    if step.operand != 0:
        return None
    if step.result_shape == axis_map.shape:
        return axis_map
    starts = _literal_starts(
        step.equation.inputs[1:], axis_map.shape, step.result_shape
    )
    if starts is None or step.whole:
        return lookups.carry(step, axis_map)
    limits = [
        start + size for start, size in zip(starts, step.result_shape, strict=True)
    ]
    return cuts.sliced(step, axis_map, starts, limits, (1,) * len(starts))


def _gather(step: Step, axis_map: AxisMap) -> Carried:
    return lookups.carry(step, axis_map) if step.operand == 0 else None


def _literal_starts(
    operands: tuple[Operand, ...], whole: tuple[int, ...], part: tuple[int, ...]
) -> list[int] | None:
    """Returns where a dynamic slice starts, if that is written in the program."""
    if not all(isinstance(operand, Literal) for operand in operands):
        return None
    values = [int(operand.val) for operand in operands if isinstance(operand, Literal)]
    return [
        min(max(value, 0), size - length)
        for value, size, length in zip(values, whole, part, strict=True)
    ]


def _reverse(step: Step, axis_map: AxisMap) -> Carried:
    if step.whole:
        return lookups.carry(step, axis_map)
    return cuts.turned(step, axis_map, step.equation.parameters["dimensions"])


def _pad(step: Step, axis_map: AxisMap) -> Carried:
    if step.operand != 0:
        return None
    carried: AxisMap | None = axis_map
    for number, (low, _, interior) in enumerate(
        step.equation.parameters["padding_config"]
    ):
        if carried is None:
            return None
        size = step.result_shape[number]
        carried = axes.placed(carried, number, low=low, step=interior + 1, size=size)
    return carried


def _concatenate(step: Step, axis_map: AxisMap) -> Carried:
    dimension = step.equation.parameters["dimension"]
    before = step.equation.inputs[: step.operand]
    low = sum(array_shape(operand)[dimension] for operand in before)
    size = step.result_shape[dimension]
    return axes.placed(axis_map, dimension, low=low, step=1, size=size)


def _stack(step: Step, axis_map: AxisMap) -> Carried:
    at, many = step.equation.parameters["axis"], len(step.equation.inputs)
    wider = axes.with_axes(axis_map, (*axis_map.axes[:at], Axis(), *axis_map.axes[at:]))
    return axes.placed(wider, at, low=step.operand, step=1, size=many)


def _tile(step: Step, axis_map: AxisMap) -> Carried:
    tiled: list[Axis] = []
    for number, times in enumerate(step.equation.parameters["reps"]):
        axis = axis_map.axes[number]
        if times > 1:
            if axis.placement is not None:
                return None
            made = axes.made_axis(step.number, number, times)
            axis = Axis(atoms=(*made.atoms, *axis.atoms))
        tiled.append(axis)
    return axes.with_axes(axis_map, tiled)


def _dynamic_update_slice(step: Step, axis_map: AxisMap) -> Carried:
    if step.operand == 0:
        return _overwritten(step, axis_map)
    if step.operand != 1:
        return None
    starts = _literal_starts(
        step.equation.inputs[2:], step.result_shape, axis_map.shape
    )
    if starts is None:
        return None
    carried: AxisMap | None = axis_map
    for number, start in enumerate(starts):
        if carried is None:
            return None
        size = step.result_shape[number]
        carried = axes.placed(carried, number, low=start, step=1, size=size)
    return carried


def _overwritten(step: Step, axis_map: AxisMap) -> Carried:
    """Carries a map through an equation that replaces some entries of its operand."""
    if step.operand != 0 or any(axis.placement is not None for axis in axis_map.axes):
        return None
    return _times(step, axis_map, step.partial())


def _scatter(step: Step, axis_map: AxisMap) -> Carried:
    if step.operand == 2:
        return lookups.carry_update(step, axis_map)
    return _overwritten(step, axis_map)


def _select(step: Step, axis_map: AxisMap) -> Carried:
    return None if step.operand == 0 else entrywise(step, axis_map)


def _newer(**rules: PrefixRule) -> dict[Primitive, PrefixRule]:
    """Returns the rules of primitives that this version of JAX has."""
    return {
        getattr(jax.lax, name): rule
        for name, rule in rules.items()
        if hasattr(jax.lax, name)
    }


PREFIX_RULES: Mapping[Primitive, PrefixRule] = {
    primitives.transpose_p: _transpose,
    primitives.reshape_p: _reshape,
    primitives.squeeze_p: _squeeze,
    primitives.broadcast_in_dim_p: _broadcast,
    primitives.convert_element_type_p: _cast,
    primitives.copy_p: lambda step, axis_map: axis_map,
    primitives.neg_p: _negate,
    primitives.add_p: _add,
    primitives.add_jaxvals_p: _add,
    primitives.sub_p: _subtract,
    primitives.mul_p: _multiply,
    primitives.div_p: _divide,
    primitives.dot_general_p: _dot_general,
    primitives.slice_p: _slice,
    primitives.dynamic_slice_p: _dynamic_slice,
    primitives.gather_p: _gather,
    primitives.rev_p: _reverse,
    primitives.pad_p: _pad,
    primitives.concatenate_p: _concatenate,
    primitives.dynamic_update_slice_p: _dynamic_update_slice,
    primitives.scatter_p: _scatter,
    primitives.scatter_add_p: _scatter,
    primitives.select_n_p: _select,
    primitives.reduce_sum_p: _reduce_sum,
    **_newer(stack_p=_stack, tile_p=_tile),
}


def carry(step: Step, axis_map: AxisMap) -> Carried:
    """Carries a map through an equation without data.

    Entrywise functions without a rule of their own are carried through by their
    derivative. Complex results are left to others.
    """
    if not is_real(step):
        return None
    if 0 in step.result_shape:
        return axes.ABSENT
    rule = PREFIX_RULES.get(step.equation.primitive, entrywise)
    return rule(step, axis_map)
