"""Printers of primitives that move or repeat elements: reshape, slice, pad, ..."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import (
    Expression,
    atom,
    attribute,
    call,
    method,
    sequence,
    subscript,
)
from ntkplan.emit.primitives.context import Context, Printer, Result, tuple_target
from ntkplan.emit.primitives.parameters import check_known
from ntkplan.emit.primitives.value import (
    Shape,
    Unpacked,
    Value,
    aval_of,
    axes_text,
    dtype_text,
    exact,
    integers,
    is_zero,
    typed,
    whole,
)
from ntkplan.ir.equation import Equation


def insert_axes(expression: Expression, kept: Sequence[bool]) -> Expression:
    """An index that inserts an axis wherever `kept` is False.

    >>> from ntkplan.emit.expression import atom
    >>> insert_axes(atom("b"), [False, True]).text
    'b[None]'
    >>> insert_axes(atom("b"), [True, True, False]).text
    'b[..., None]'
    """
    if all(kept):
        return expression
    items = [":" if keep else "None" for keep in kept]
    while items and items[-1] == ":":
        items.pop()
    if all(kept[: sum(kept)]) and sum(kept) > 1:
        items = ["...", *items[sum(kept) :]]
    return subscript(expression, *items)


def with_axes(operand: Value, kept: Sequence[bool], full_shape: Shape) -> Value:
    """Inserts axes into a value; those it has got in this way count as one index."""
    root = operand
    if operand.inserted is not None:
        root, own = operand.inserted
        rest = iter(own)
        kept = [keep and next(rest) for keep in kept]
    sizes = iter(root.shape)
    return Value(
        expression=insert_axes(typed(root), kept),
        shape=tuple(next(sizes) if keep else 1 for keep in kept),
        full_shape=full_shape,
        dtype=operand.dtype,
        cheap=operand.cheap,
        inserted=None if all(kept) else (root, tuple(kept)),
    )


def without_leading_ones(operand: Value) -> Expression:
    """An operand of what broadcasts as numpy does: axes in front need no index."""
    if operand.inserted is None:
        return operand.expression
    root, kept = operand.inserted
    first = kept.index(True) if any(kept) else len(kept)
    return insert_axes(typed(root), kept[first:])


def _without_axes(operand: Value) -> Value:
    """A value as it was before axes of size one were inserted, if they were."""
    if operand.inserted is None or operand.shape != operand.full_shape:
        return operand
    root, _ = operand.inserted
    return dataclasses.replace(root, full_shape=root.shape)


def _scalar(operand: Value, full_shape: Shape) -> Value:
    """A value that prints as a scalar, in another shape."""
    return dataclasses.replace(operand, full_shape=full_shape, condition=None)


def _broadcast(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "shape", "broadcast_dimensions")
    operand = operands[0]
    aval = aval_of(equation.outputs[0])
    if operand.shape == ():
        return _scalar(operand, aval.shape)
    positions = equation.parameters["broadcast_dimensions"]
    if operand.with_kept_axes is not None:
        removed, expression = operand.with_kept_axes
        if set(removed) == set(range(len(aval.shape))) - set(positions):
            return Value(
                expression=expression,
                shape=tuple(
                    1 if axis in removed else size
                    for axis, size in enumerate(
                        _spread(operand.shape, positions, len(aval.shape))
                    )
                ),
                full_shape=aval.shape,
                dtype=aval.dtype,
            )
    kept = [axis in positions for axis in range(len(aval.shape))]
    return with_axes(operand, kept, aval.shape)


def _spread(shape: Shape, positions: Sequence[int], rank: int) -> list[int]:
    """The sizes of axes at their positions among axes of size one."""
    sizes = [1] * rank
    for axis, size in zip(positions, shape, strict=True):
        sizes[axis] = size
    return sizes


def _reshape(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "new_sizes", "dimensions")
    operand = operands[0]
    aval = aval_of(equation.outputs[0])
    order = equation.parameters["dimensions"]
    if order is not None and operand.shape != ():
        axes = [str(int(axis)) for axis in order]
        turned = method(exact(operand), "transpose", *axes)
        return whole(method(turned, "reshape", *_sizes(aval.shape)), aval)
    if operand.shape == ():
        return _scalar(operand, aval.shape)
    operand = _without_axes(operand)
    if aval.shape == operand.full_shape:
        return operand
    kept = _inserted_only(operand.full_shape, aval.shape)
    if kept is not None and operand.shape == operand.full_shape:
        return with_axes(operand, kept, aval.shape)
    return whole(method(exact(operand), "reshape", *_sizes(aval.shape)), aval)


def _sizes(shape: Sequence[int]) -> list[str]:
    return [str(int(size)) for size in shape] or ["()"]


def _inserted_only(old: tuple[int, ...], new: tuple[int, ...]) -> list[bool] | None:
    """Which axes of the new shape are old ones, when the others were put in as ones."""
    kept: list[bool] = []
    rest = list(old)
    for position, size in enumerate(new):
        # Prefers an inserted axis in front, so that `[None]` is what prints.
        ones_to_come = len(new) - position - len(rest)
        if size == 1 and ones_to_come > 0:
            kept.append(False)
        elif rest and rest[0] == size:
            rest.pop(0)
            kept.append(True)
        else:
            return None
    return None if rest else kept


def _squeeze(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "dimensions")
    (operand,) = operands
    aval = aval_of(equation.outputs[0])
    dimensions = tuple(int(axis) for axis in equation.parameters["dimensions"])
    if not dimensions:
        return operand
    if operand.shape == ():
        return _scalar(operand, aval.shape)
    if operand.shape == operand.full_shape:
        shorter = operand.squeezed(dimensions) if operand.squeezed else None
        if shorter is not None:
            return whole(shorter, aval)
        root = _without_axes(operand)
        if root is not operand and root.full_shape == aval.shape:
            return root
    axes = axes_text(dimensions, len(operand.full_shape))
    return whole(method(exact(operand), "squeeze", axes), aval)


def _transpose(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "permutation")
    (operand,) = operands
    aval = aval_of(equation.outputs[0])
    permutation = tuple(equation.parameters["permutation"])
    if permutation == tuple(range(len(permutation))):
        return operand
    if operand.shape == ():
        return _scalar(operand, aval.shape)
    if operand.transposed is not None:
        return whole(operand.transposed(permutation), aval)
    base = typed(operand)

    def again(after: tuple[int, ...]) -> Expression:
        return _turned(base, tuple(permutation[axis] for axis in after))

    return dataclasses.replace(
        whole(_turned(base, permutation), aval),
        shape=tuple(operand.shape[axis] for axis in permutation),
        transposed=again if operand.shape == operand.full_shape else None,
    )


def _turned(base: Expression, permutation: Sequence[int]) -> Expression:
    """An array with its axes in another order."""
    if list(permutation) == sorted(permutation):
        return base
    if tuple(permutation) == (1, 0):
        return attribute(base, "T")
    return method(base, "transpose", *(str(int(axis)) for axis in permutation))


def _slice(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "start_indices", "limit_indices", "strides")
    (operand,) = operands
    aval = aval_of(equation.outputs[0])
    if operand.shape == ():
        return _scalar(operand, aval.shape)
    starts = equation.parameters["start_indices"]
    limits = equation.parameters["limit_indices"]
    strides = equation.parameters["strides"] or (1,) * len(starts)
    sizes = operand.full_shape
    items = [
        _slice_text(int(start), int(limit), int(stride), size)
        for start, limit, stride, size in zip(
            starts, limits, strides, sizes, strict=True
        )
    ]
    if all(item == ":" for item in items):
        return operand
    base = exact(operand)

    def squeezed(dimensions: tuple[int, ...]) -> Expression | None:
        if any(sizes[axis] == 1 for axis in dimensions):
            return None
        picked = list(items)
        for axis in dimensions:
            picked[axis] = str(int(starts[axis]))
        return _index(base, picked)

    return dataclasses.replace(whole(_index(base, items), aval), squeezed=squeezed)


def _slice_text(start: int, limit: int, stride: int, size: int) -> str:
    first = str(start) if start else ""
    last = str(limit) if limit != size else ""
    return f"{first}:{last}" + (f":{stride}" if stride != 1 else "")


def _index(base: Expression, items: list[str]) -> Expression:
    while items and items[-1] == ":":
        items = items[:-1]
    return subscript(base, *items)


def _concatenate(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "dimension")
    aval = aval_of(equation.outputs[0])
    parts = sequence([exact(item) for item in operands], brackets="[]")
    axis = axes_text((equation.parameters["dimension"],), len(aval.shape))
    return whole(call("jnp.concatenate", parts, axis=axis), aval)


def _stack(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "axis")
    parts = sequence([exact(item) for item in operands], brackets="[]")
    axis = str(int(equation.parameters["axis"]))
    expression = call("jnp.stack", parts, axis=axis)
    return whole(expression, aval_of(equation.outputs[0]))


def _unstack(equation: Equation, operands: Sequence[Value], _: Context) -> Unpacked:
    check_known(equation, "axis")
    axis = str(int(equation.parameters["axis"]))
    expression = call("jnp.unstack", exact(operands[0]), axis=axis)
    return Unpacked(expression=expression, target=tuple_target)


def _tile(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "reps")
    expression = call(
        "jnp.tile", exact(operands[0]), integers(equation.parameters["reps"])
    )
    return whole(expression, aval_of(equation.outputs[0]))


def _split(equation: Equation, operands: Sequence[Value], _: Context) -> Result:
    check_known(equation, "sizes", "axis")
    sizes = [int(size) for size in equation.parameters["sizes"]]
    if len(sizes) == 1:
        return operands[0]
    ends = [str(sum(sizes[:count])) for count in range(1, len(sizes))]
    even = len(set(sizes)) == 1
    rank = len(operands[0].full_shape)
    expression = call(
        "jnp.split",
        exact(operands[0]),
        atom(str(len(sizes))) if even else sequence(ends, brackets="[]"),
        axis=axes_text((equation.parameters["axis"],), rank),
    )
    return Unpacked(expression=expression, target=tuple_target)


def _pad(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "padding_config")
    operand, filling = operands
    config = equation.parameters["padding_config"]
    aval = aval_of(equation.outputs[0])
    simple = all(low >= 0 and high >= 0 and not gap for low, high, gap in config)
    if simple and filling.number is not None:
        widths = integers([(low, high) for low, high, _ in config])
        value = {} if is_zero(filling) else {"constant_values": filling.expression}
        return whole(call("jnp.pad", exact(operand), widths, **value), aval)
    expression = call("lax.pad", exact(operand), typed(filling), integers(config))
    return whole(expression, aval)


def _rev(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "dimensions")
    aval = aval_of(equation.outputs[0])
    axes = axes_text(tuple(equation.parameters["dimensions"]), len(aval.shape))
    return whole(call("jnp.flip", exact(operands[0]), axis=axes), aval)


def _iota(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "dtype", "shape", "dimension")
    aval = aval_of(equation.outputs[0])
    dtype = dtype_text(aval.dtype)
    if len(aval.shape) == 1:
        return whole(call("jnp.arange", atom(str(aval.shape[0])), dtype=dtype), aval)
    expression = call(
        "lax.broadcasted_iota",
        atom(dtype),
        integers(aval.shape),
        atom(str(int(equation.parameters["dimension"]))),
    )
    return whole(expression, aval)


def _bitcast(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "new_dtype")
    dtype = atom(dtype_text(equation.parameters["new_dtype"]))
    expression = call("lax.bitcast_convert_type", exact(operands[0]), dtype)
    return whole(expression, aval_of(equation.outputs[0]))


def _barrier(equation: Equation, operands: Sequence[Value], _: Context):
    arguments = [exact(operand) for operand in operands]
    if len(arguments) == 1:
        expression = call("lax.optimization_barrier", *arguments)
        return whole(expression, aval_of(equation.outputs[0]))
    expression = call("lax.optimization_barrier", sequence(arguments))
    return Unpacked(expression=expression, target=tuple_target)


def _newer(**printers: Printer) -> dict[Primitive, Printer]:
    """The primitives among these that this version of JAX has."""
    return {
        getattr(lax, name): printer
        for name, printer in printers.items()
        if hasattr(lax, name)
    }


PRINTERS: dict[Primitive, Printer] = {
    primitives.broadcast_in_dim_p: _broadcast,
    primitives.reshape_p: _reshape,
    primitives.squeeze_p: _squeeze,
    primitives.transpose_p: _transpose,
    primitives.slice_p: _slice,
    primitives.concatenate_p: _concatenate,
    primitives.pad_p: _pad,
    primitives.rev_p: _rev,
    primitives.iota_p: _iota,
    primitives.bitcast_convert_type_p: _bitcast,
    lax.split_p: _split,
    lax.optimization_barrier_p: _barrier,
    **_newer(stack_p=_stack, unstack_p=_unstack, tile_p=_tile),
}
