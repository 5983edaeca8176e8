"""Triangles, identity matrices and one-hot rows: comparisons of counted axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ntkplan._jax import Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, call, sequence
from ntkplan.emit.primitives.idioms.activations import of_one
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, dtype_text
from ntkplan.ir.equation import Equation

_COUNTED = (primitives.add_p, primitives.broadcast_in_dim_p, primitives.iota_p)


def _constant(name: str, *arguments: Expression | str, **keywords: str) -> Proposal:
    items = [atom(item) if isinstance(item, str) else item for item in arguments]
    return Proposal(operands=(), write=lambda: call(name, *items, **keywords))


def _triangles(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """The part of an array on one side of a diagonal, and what is zero beside it."""
    if len(last.inputs) != 3:
        return
    test = producers.through(last.inputs[0], primitives.broadcast_in_dim_p)
    if test is None or test.primitive is not primitives.ge_p:
        return
    offset = _offset(test, producers)
    if offset is None:
        return
    above, below = last.inputs[1:]
    for array, name, k in (
        (below, "jnp.tril", offset),
        (above, "jnp.triu", offset + 1),
    ):
        keywords = {"k": str(k)} if k else {}
        filling = producers.number(array)
        if filling is not None and filling == 1:
            shape = sequence([str(size) for size in aval_of(array).shape])
            ones = call("jnp.ones", shape, dtype=dtype_text(aval_of(array).dtype))
            yield _constant(name, ones, **keywords)
        elif isinstance(array, Var):
            yield of_one(array, name, **keywords)


def _offset(test: Equation, producers: Producers) -> int | None:
    """How far rows are moved against columns in a comparison of their numbers."""
    rows = producers.find(test.inputs[0], primitives.add_p)
    if rows is None:
        return None
    number = producers.number(rows.inputs[1])
    return None if number is None else int(number)


def _comparisons(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A matrix of ones, or of what is true, on one side of a diagonal, or on it."""
    test: Equation | None = last
    if last.primitive is primitives.convert_element_type_p:
        test = producers.find(last.inputs[0], primitives.ge_p, primitives.eq_p)
    shape = aval_of(last.outputs[0]).shape
    if test is None or len(shape) != 2:
        return
    offset = _offset(test, producers)
    if offset is None:
        return
    n_rows, n_columns = map(str, shape)
    square = n_rows == n_columns
    dtype = dtype_text(aval_of(last.outputs[0]).dtype)
    name = "jnp.tri" if test.primitive is primitives.ge_p else "jnp.eye"
    arguments = [n_rows] if square else [n_rows, n_columns]
    moved = {"k": str(offset)} if offset else {}
    yield _constant(name, *arguments, **moved, dtype=dtype)


def _one_hots(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A comparison of indices with all that they may be."""
    test: Equation | None = last
    if last.primitive is primitives.convert_element_type_p:
        test = producers.find(last.inputs[0], primitives.eq_p)
    if test is None:
        return
    counted = producers.find(test.inputs[1], primitives.iota_p)
    spread = producers.find(
        test.inputs[0], primitives.broadcast_in_dim_p, primitives.reshape_p
    )
    if counted is None or spread is None or not isinstance(spread.inputs[0], Var):
        return
    aval = aval_of(last.outputs[0])
    axis = int(counted.parameters["dimension"])
    keywords = {} if axis == len(aval.shape) - 1 else {"axis": str(axis)}
    if aval.dtype != np.float32:
        keywords = {"dtype": dtype_text(aval.dtype), **keywords}
    n_classes = atom(str(aval.shape[axis]))
    yield of_one(spread.inputs[0], "jax.nn.one_hot", n_classes, **keywords)
    # A dtype of its own stands where the default one may be another.
    keywords = {"dtype": dtype_text(aval.dtype), **keywords}
    yield of_one(spread.inputs[0], "jax.nn.one_hot", n_classes, **keywords)


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.select_n_p: (_triangles,),
    primitives.ge_p: (_comparisons,),
    primitives.eq_p: (_comparisons, _one_hots),
    primitives.convert_element_type_p: (_comparisons, _one_hots),
}
