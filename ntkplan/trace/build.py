"""From `f(params, x)` to the graph of one example, for every output array."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy

from ntkplan._jax import array_spec, is_traced
from ntkplan.errors import NoExampleAxisError, OutputError, TracedConstantError
from ntkplan.ir.equation import Body
from ntkplan.ir.graph import KernelGraph, Output, build_graph
from ntkplan.trace.failures import explained
from ntkplan.trace.jaxpr import flatten, only_output
from ntkplan.trace.leaves import Predicate, path_text, read_leaves, shape_of
from ntkplan.trace.rolling import rolled


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A traced model: one graph for every array that it returns.

    Attributes:
        graphs: By the array's path in what `f` returns, in the order of `jax.tree`;
            the path is empty where `f` returns one array.
        structure: The tree that `f` returns, a `PyTreeDef`.
        body: The code of all of them, as it was traced.
    """

    graphs: Mapping[str, KernelGraph]
    structure: Any
    body: Body

    @property
    def is_tree(self) -> bool:
        """Whether `f` returns a tree of arrays, and not one array."""
        return self.structure != jax.tree.structure(0)


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

    Raises:
        TracingError: `f` raised an exception.
        TracedConstantError: `f` is closed over arrays that are traced themselves.
    """
    params_spec = jax.tree.map(shape_of, params)
    x_spec = jax.tree.map(lambda value: resized(value, batch_axis, length), x)
    with explained(x_spec, batch_axis):
        closed, output = jax.make_jaxpr(f, return_shape=True)(params_spec, x_spec)
    body = flatten(closed)
    traced = [array_spec(item) for item, value in body.constants if is_traced(value)]
    if traced:
        shapes = [f"{item.dtype}{list(item.shape)}" for item in traced]
        raise TracedConstantError(shapes=shapes)
    return body, output


def build(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    batch_axis: int | None,
    wrt: Predicate | None,
) -> Model:
    """Traces the model on one example.

    With `batch_axis=None` the whole batch is the one example.

    Raises:
        NtkPlanError: A leaf cannot be differentiated, or an output has no kernel.
    """
    body, output = trace_body(f, params, x, batch_axis=batch_axis, length=1)
    leaves = read_leaves(params, body.inputs, wrt)
    graphs: dict[str, KernelGraph] = {}
    for number, (path, spec) in enumerate(output_arrays(output).items()):
        own = rolled(only_output(body, number), [leaf.variable for leaf in leaves])
        graphs[path] = KernelGraph(
            body=own,
            leaves=leaves,
            data=body.inputs[len(leaves) :],
            output=_output(own, path, spec, batch_axis),
            graph=build_graph(own.equations),
        )
    return Model(graphs=graphs, structure=jax.tree.structure(output), body=body)


def output_shapes(
    f: Callable[..., Any], params: Any, x: Any, *, batch_axis: int | None
) -> Any:
    """Returns the tree of shapes that `f` returns for all of `x`.

    Raises:
        TracingError: `f` raised an exception.
    """
    params_spec, x_spec = jax.tree.map(shape_of, (params, x))
    with explained(x_spec, batch_axis):
        return jax.eval_shape(f, params_spec, x_spec)


def output_arrays(tree: Any) -> dict[str, Any]:
    """Returns the arrays of what `f` returns, or their shapes, by path.

    Raises:
        OutputError: There are none, or two have the same path.
    """
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    if not flat:
        raise OutputError(
            why=f"f returns {structure}, which holds no array",
            hint="return an array or a tree of arrays, with the example axis first",
        )
    arrays = {path_text(keys): array for keys, array in flat}
    if len(arrays) < len(flat):
        paths = [path_text(keys) for keys, _ in flat]
        twice = next(path for path in paths if paths.count(path) > 1)
        raise OutputError(
            why=f"f returns two arrays whose path reads {twice!r}",
            hint="give the entries of what f returns names that differ as text",
        )
    return arrays


def _output(body: Body, path: str, spec: Any, batch_axis: int | None) -> Output:
    if not jax.numpy.issubdtype(spec.dtype, jax.numpy.floating):
        only = f", or leave {path} out of what f returns" if path else ""
        raise OutputError(
            path=path,
            why=f"f returns {spec.dtype}, which has no derivative",
            hint=f"return floating-point logits{only}",
        )
    if spec.ndim == 0:
        raise OutputError(
            path=path,
            why="f returns one number, of shape [], for one example",
            hint="return an array with the example axis first, before any loss or "
            "mean, and name the axis of a squeeze",
        )
    if batch_axis is not None and spec.shape[0] != 1:
        raise OutputError(
            path=path,
            why=f"for one example f returns the shape {list(spec.shape)}, whose first "
            "axis does not count examples",
            hint="return the example axis first",
        )
    shape = tuple(spec.shape) if batch_axis is None else tuple(spec.shape[1:])
    if math.prod(shape) == 0:
        raise OutputError(
            path=path,
            why=f"f returns the empty shape {list(spec.shape)}",
            hint="return at least one output",
        )
    return Output(
        variable=body.outputs[0], shape=shape, dtype=str(numpy.dtype(spec.dtype))
    )
