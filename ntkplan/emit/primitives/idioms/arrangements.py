"""Repeated elements, evenly spaced numbers, rolled axes and sums of narrow numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ntkplan._jax import Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, call
from ntkplan.emit.primitives.idioms.activations import axis_keywords, of_one
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, axes_text, dtype_text, number_text
from ntkplan.ir.equation import Equation


def _repeats(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`jnp.repeat`: a new axis that is joined with the one before it."""
    spread = producers.find(last.inputs[0], primitives.broadcast_in_dim_p)
    if spread is None or not isinstance(spread.inputs[0], Var):
        return
    kept = [int(axis) for axis in spread.parameters["broadcast_dimensions"]]
    shape = aval_of(spread.outputs[0]).shape
    new = [axis for axis in range(len(shape)) if axis not in kept]
    if len(new) != 1 or new[0] == 0 or shape[new[0]] == 1:
        return
    axis = axis_keywords((new[0] - 1,), len(shape) - 1, None)
    yield of_one(spread.inputs[0], "jnp.repeat", atom(str(shape[new[0]])), **axis)


def _joined(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """What numpy joins from pieces: a rolled array, or evenly spaced numbers."""
    if len(last.inputs) != 2:
        return
    slices = [producers.find(item, primitives.slice_p) for item in last.inputs]
    first, second = slices
    axis = int(last.parameters["dimension"])
    if first and second and first.inputs[0] is second.inputs[0]:
        (array,) = first.inputs
        size = aval_of(array).shape[axis]
        shift = size - int(first.parameters["start_indices"][axis])
        where = axes_text((axis,), len(aval_of(array).shape))
        if isinstance(array, Var) and 0 < shift < size:
            if shift > size // 2:
                shift -= size
            yield of_one(array, "jnp.roll", atom(str(shift)), axis=where)
    yield from _spaced(last, producers)


def _spaced(last: Equation, producers: Producers) -> Iterator[Proposal]:
    between = producers.find(last.inputs[0], primitives.add_p)
    stop = producers.number(last.inputs[1])
    weighted = between and producers.find(between.inputs[0], primitives.mul_p)
    if not weighted or stop is None:
        return
    start = producers.number(weighted.inputs[0])
    if start is None:
        return
    aval = aval_of(last.outputs[0])
    ends = [atom(number_text(number)) for number in (start, stop)]
    count, dtype = atom(str(aval.shape[0])), dtype_text(aval.dtype)

    def write() -> Expression:
        return call("jnp.linspace", *ends, count, dtype=dtype)

    yield Proposal(operands=(), write=write)


def _narrow_sums(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A sum of 16-bit numbers, which numpy makes in 32 bits."""
    total = producers.find(
        last.inputs[0], primitives.reduce_sum_p, primitives.reduce_prod_p
    )
    wide = total and producers.find(total.inputs[0], primitives.convert_element_type_p)
    if not total or not wide:
        return
    name = "sum" if total.primitive is primitives.reduce_sum_p else "prod"
    axes = tuple(int(axis) for axis in total.parameters["axes"])
    rank = len(aval_of(wide.inputs[0]).shape)
    keywords = {} if len(axes) == rank else {"axis": axes_text(axes, rank)}
    yield of_one(wide.inputs[0], f"jnp.{name}", **keywords)


def _whole_sums(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A sum of integers, whose dtype numpy is told to keep."""
    (array,) = last.inputs
    aval = aval_of(array)
    if aval.dtype.kind not in "iu" or not isinstance(array, Var):
        return
    name = "sum" if last.primitive is primitives.reduce_sum_p else "prod"
    axes = tuple(int(axis) for axis in last.parameters["axes"])
    rank = len(aval.shape)
    keywords = {} if len(axes) == rank else {"axis": axes_text(axes, rank)}
    yield of_one(array, f"jnp.{name}", **keywords, dtype=dtype_text(aval.dtype))


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.reshape_p: (_repeats,),
    primitives.concatenate_p: (_joined,),
    primitives.convert_element_type_p: (_narrow_sums,),
    primitives.reduce_sum_p: (_whole_sums,),
    primitives.reduce_prod_p: (_whole_sums,),
}
