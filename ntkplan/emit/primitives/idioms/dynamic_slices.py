"""Slices whose start is computed: `x[:, start]`, `lax.dynamic_slice_in_dim`, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, call, sequence, subscript
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, integers
from ntkplan.ir.equation import Atom, Equation


def _start(item: Atom, producers: Producers) -> Atom:
    """A start as it was before JAX made it count from the front."""
    chosen = producers.find(item, primitives.select_n_p)
    test = chosen and producers.find(chosen.inputs[0], primitives.lt_p)
    return chosen.inputs[1] if chosen and test else item


def _with_starts(
    array: Sequence[Atom],
    starts: Sequence[Atom],
    write: Callable[[list[Expression], list[Expression]], Expression],
) -> Proposal:
    """A proposal of arrays and starts, the ones that are numbers as numbers."""
    moving = [item for item in starts if isinstance(item, Var)]

    def fill(*operands: Expression) -> Expression:
        rest = iter(operands[len(array) :])
        texts = [
            atom(str(int(np.asarray(item.val))))
            if isinstance(item, Literal)
            else next(rest)
            for item in starts
        ]
        return write(list(operands[: len(array)]), texts)

    return Proposal(operands=(*array, *moving), write=fill)


def _slices(last: Equation, producers: Producers) -> Iterator[Proposal]:
    table, *given = last.inputs
    starts = [_start(item, producers) for item in given]
    sizes = [int(size) for size in last.parameters["slice_sizes"]]
    shape = aval_of(table).shape
    cut = _cut(starts, sizes, shape)
    if len(cut) == 1:
        (axis,) = cut
        size, where = atom(str(sizes[axis])), str(axis)
        yield _with_starts(
            (table,),
            [starts[axis]],
            lambda x, i: call("lax.dynamic_slice_in_dim", *x, *i, size, axis=where),
        )
    yield _with_starts(
        (table,),
        starts,
        lambda x, i: call("lax.dynamic_slice", *x, sequence(i), integers(sizes)),
    )


def _cut(
    starts: Sequence[Atom], sizes: Sequence[int], shape: Sequence[int]
) -> list[int]:
    """The axes of which only a part is taken."""
    return [
        axis
        for axis, start in enumerate(starts)
        if sizes[axis] != shape[axis]
        or not isinstance(start, Literal)
        or int(np.asarray(start.val)) != 0
    ]


def _entries(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """Single entries of some axes, which are then dropped."""
    cut = producers.find(last.inputs[0], primitives.dynamic_slice_p)
    if cut is None:
        return
    table, *given = cut.inputs
    starts = [_start(item, producers) for item in given]
    dropped = [int(axis) for axis in last.parameters["dimensions"]]
    chosen = [starts[axis] for axis in dropped]

    def index(x: list[Expression], i: list[Expression]) -> Expression:
        items = [":"] * (max(dropped) + 1)
        for axis, text in zip(dropped, i, strict=True):
            items[axis] = text.text
        return subscript(x[0], *items)

    if not dropped:
        return
    yield _with_starts((table,), chosen, index)
    if len(dropped) == 1:
        keywords = {"axis": str(dropped[0]), "keepdims": "False"}
        yield _with_starts(
            (table,),
            chosen,
            lambda x, i: call("lax.dynamic_index_in_dim", *x, *i, **keywords),
        )


def _updates(last: Equation, producers: Producers) -> Iterator[Proposal]:
    table, update, *given = last.inputs
    starts = [_start(item, producers) for item in given]
    cut = _cut(starts, aval_of(update).shape, aval_of(table).shape)
    arrays = (table, update)
    if len(cut) == 1:
        (axis,) = cut
        where = str(axis)
        name = "lax.dynamic_update_slice_in_dim"
        yield _with_starts(
            arrays, [starts[axis]], lambda x, i: call(name, *x, *i, axis=where)
        )
    yield _with_starts(
        arrays,
        starts,
        lambda x, i: call("lax.dynamic_update_slice", *x, sequence(i)),
    )


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.dynamic_slice_p: (_slices,),
    primitives.squeeze_p: (_entries,),
    primitives.dynamic_update_slice_p: (_updates,),
}
