"""From `f(params, x)` to the graph of one example."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy

from ntkplan._jax import Var
from ntkplan.errors import (
    ComplexLeafError,
    NoExampleAxisError,
    NoLeavesError,
    NonFloatLeafError,
    OutputError,
)
from ntkplan.ir.equation import Body
from ntkplan.ir.graph import KernelGraph, Leaf, Output, build_graph
from ntkplan.trace.jaxpr import flatten

Predicate = Callable[[str, Any], bool]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """One array of `params` or of `x`, by its place in the tree.

    Attributes:
        path: Its place, as `blocks/0/w_q`; empty where the tree is one array.
        access: Python text that reads it from the tree, or None.
        value: The array, or its shape and dtype.
    """

    path: str
    access: str | None
    value: Any


def tree_inputs(tree: Any) -> tuple[Input, ...]:
    """Returns the leaves of a tree with their paths, in the order of `jax.tree`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(
        Input(path=_path(keys), access=_access(tree, keys, leaf), value=leaf)
        for keys, leaf in flat
    )


def _key_text(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key).strip(".[]'\"")


def _path(keys: tuple[Any, ...]) -> str:
    return "/".join(_key_text(key) for key in keys)


def _access(tree: Any, keys: tuple[Any, ...], leaf: Any) -> str | None:
    """Writes the path as Python, or returns None where that does not read the leaf.

    A container that warns when it is read so is not read so.
    """
    text, value = "", tree
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for key in keys:
                step, value = _step(value, key)
                text += step
        except (KeyError, IndexError, AttributeError, TypeError, Warning):
            return None
    return text.replace("'", '"') if value is leaf else None


def _step(value: Any, key: Any) -> tuple[str, Any]:
    """Reads one key: the Python text that does it, and what is found."""
    if isinstance(key, jax.tree_util.DictKey):
        return f"[{key.key!r}]", value[key.key]
    if isinstance(key, jax.tree_util.SequenceKey):
        return f"[{key.idx}]", value[key.idx]
    if isinstance(key, jax.tree_util.GetAttrKey):
        return f".{key.name}", getattr(value, key.name)
    raise KeyError(key)


def shape_of(value: Any) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of an array, a number or a `ShapeDtypeStruct`."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return value
    array_type = jax.eval_shape(lambda: jax.numpy.asarray(value))
    return jax.ShapeDtypeStruct(array_type.shape, array_type.dtype)


def resized(value: Any, axis: int | None, length: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of `value` with another number of examples."""
    spec = shape_of(value)
    if axis is None:
        return spec
    shape = list(spec.shape)
    if not -len(shape) <= axis < len(shape):
        raise NoExampleAxisError(shape=spec.shape, batch_axis=axis)
    shape[axis] = length
    return jax.ShapeDtypeStruct(tuple(shape), spec.dtype)


def trace_body(
    f: Callable[..., Any], params: Any, x: Any, *, batch_axis: int | None, length: int
) -> tuple[Body, Any]:
    """Traces `f` with a given number of examples.

    Args:
        f: The model, `f(params, x)`.
        params: Arrays or `ShapeDtypeStruct`s.
        x: Likewise.
        batch_axis: The example axis of every array in `x`, or None.
        length: How many examples to trace with; ignored where `batch_axis` is None.

    Returns:
        The flat body, params first, then x; and the tree of output shapes.
    """
    params_spec = jax.tree.map(shape_of, params)
    x_spec = jax.tree.map(lambda value: resized(value, batch_axis, length), x)
    closed, output = jax.make_jaxpr(f, return_shape=True)(params_spec, x_spec)
    return flatten(closed), output


def build(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    batch_axis: int | None,
    wrt: Predicate | None,
) -> KernelGraph:
    """Traces the model on one example.

    With `batch_axis=None` the whole batch is the one example.

    Raises:
        NonFloatLeafError: A leaf that should be differentiated holds no floats.
        ComplexLeafError: A leaf that should be differentiated is complex.
        OutputError: The output is no array with an example axis.
    """
    inputs = tree_inputs(params)
    body, output = trace_body(f, params, x, batch_axis=batch_axis, length=1)
    if not inputs:
        raise NoLeavesError()
    leaves = tuple(
        _leaf(item, variable, wrt)
        for item, variable in zip(inputs, body.inputs, strict=False)
    )
    if not any(leaf.differentiated for leaf in leaves):
        raise NoLeavesError()
    return KernelGraph(
        body=body,
        leaves=leaves,
        data=body.inputs[len(leaves) :],
        output=_output(body, output, batch_axis),
        graph=build_graph(body.equations),
    )


def _leaf(item: Input, variable: Var, wrt: Predicate | None) -> Leaf:
    spec = shape_of(item.value)
    differentiated = True if wrt is None else bool(wrt(item.path, item.value))
    if differentiated and jax.numpy.issubdtype(spec.dtype, jax.numpy.complexfloating):
        raise ComplexLeafError(path=item.path, dtype=str(spec.dtype))
    if differentiated and not jax.numpy.issubdtype(spec.dtype, jax.numpy.floating):
        raise NonFloatLeafError(path=item.path, dtype=str(spec.dtype))
    return Leaf(
        path=item.path,
        access=item.access,
        shape=tuple(spec.shape),
        dtype=str(spec.dtype),
        variable=variable,
        differentiated=differentiated,
    )


def _output(body: Body, tree: Any, batch_axis: int | None) -> Output:
    arrays = jax.tree.leaves(tree)
    if len(arrays) != 1 or jax.tree.structure(tree) != jax.tree.structure(0):
        raise OutputError(
            why=f"f returns a tree of {len(arrays)} arrays, not one array",
            hint="return one array from f",
        )
    (spec,) = arrays
    if not jax.numpy.issubdtype(spec.dtype, jax.numpy.floating):
        raise OutputError(
            why=f"f returns {spec.dtype}, which has no derivative",
            hint="return floating-point logits",
        )
    if spec.ndim == 0:
        raise OutputError(
            why="f returns one number, of shape []",
            hint="return an array with the example axis first, before any loss or mean",
        )
    if batch_axis is not None and spec.shape[0] != 1:
        raise OutputError(
            why=f"for one example f returns the shape {list(spec.shape)}, whose first "
            "axis does not count examples",
            hint="return the example axis first",
        )
    shape = tuple(spec.shape) if batch_axis is None else tuple(spec.shape[1:])
    if math.prod(shape) == 0:
        raise OutputError(
            why=f"f returns the empty shape {list(spec.shape)}",
            hint="return at least one output",
        )
    return Output(
        variable=body.outputs[0], shape=shape, dtype=str(numpy.dtype(spec.dtype))
    )
