"""Printers of reductions, cumulative ones, windows, sorting and searching."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan._jax import ClosedJaxpr, Jaxpr, Primitive, primitives
from ntkplan.emit.expression import Expression, atom, call, negative, sequence
from ntkplan.emit.primitives.context import (
    Context,
    Group,
    Printer,
    Result,
    Signature,
    tuple_target,
)
from ntkplan.emit.primitives.parameters import check_known, flags
from ntkplan.emit.primitives.value import (
    Unpacked,
    Value,
    aval_of,
    axes_text,
    dtype_text,
    exact,
    integers,
    whole,
)
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Equation
from ntkplan.trace.jaxpr import flatten

# jnp.sum and jnp.prod compute in a wider type for narrower ones than these.
_KEPT_BY_SUM = ("float32", "float64", "complex64", "complex128")


def _reduction(name: str, plain: str, *kinds: str) -> Printer:
    """A reduction that numpy names, for the given dtypes or, without any, for all."""

    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, "axes")
        (operand,) = operands
        aval = aval_of(equation.outputs[0])
        axes = tuple(int(axis) for axis in equation.parameters["axes"])
        if not axes:
            return operand
        base = exact(operand)
        if kinds and np.dtype(operand.dtype).name not in kinds:
            return whole(call(f"lax.{plain}", base, integers(axes)), aval)
        rank = len(operand.full_shape)
        where = {} if len(axes) == rank else {"axis": axes_text(axes, rank)}
        kept = call(f"jnp.{name}", base, **where, keepdims="True")
        value = whole(call(f"jnp.{name}", base, **where), aval)
        return dataclasses.replace(value, with_kept_axes=(axes, kept))

    return write


def _lax_reduction(name: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, "axes")
        axes = integers(equation.parameters["axes"])
        expression = call(f"lax.{name}", exact(operands[0]), axes)
        return whole(expression, aval_of(equation.outputs[0]))

    return write


def _search(name: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, "axes", "index_dtype")
        (axis,) = equation.parameters["axes"]
        dtype = dtype_text(equation.parameters["index_dtype"])
        expression = call(
            f"lax.{name}", exact(operands[0]), atom(str(int(axis))), atom(dtype)
        )
        return whole(expression, aval_of(equation.outputs[0]))

    return write


def _cumulative(name: str) -> Printer:
    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        check_known(equation, "axis", "reverse")
        expression = call(
            f"lax.{name}",
            exact(operands[0]),
            axis=str(int(equation.parameters["axis"])),
            **flags(equation.parameters, reverse=False),
        )
        return whole(expression, aval_of(equation.outputs[0]))

    return write


def _window(operation: str) -> Printer:
    """A windowed reduction; only a bare initial number keeps its derivative."""

    def write(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
        parameters = equation.parameters
        names = ("window_dimensions", "window_strides", "padding")
        dilations = ("base_dilation", "window_dilation")
        check_known(equation, *names, *dilations)
        aval = aval_of(equation.outputs[0])
        expression = call(
            "lax.reduce_window",
            exact(operands[0]),
            _identity(equation, operation, np.dtype(aval.dtype)),
            atom(f"lax.{operation}"),
            integers(parameters["window_dimensions"]),
            integers(parameters["window_strides"]),
            _window_padding(equation, operands[0].full_shape),
            **flags(
                {name: tuple(parameters[name]) for name in dilations},
                **{name: (1,) * len(aval.shape) for name in dilations},
            ),
        )
        return whole(expression, aval)

    return write


def _window_padding(equation: Equation, shape: Sequence[int]) -> Expression:
    """The padding of a window, as a word where one says exactly the same."""
    parameters = equation.parameters
    padding = [(int(low), int(high)) for low, high in parameters["padding"]]
    if set(parameters["base_dilation"]) == {1}:
        window = [
            (size - 1) * step + 1
            for size, step in zip(
                parameters["window_dimensions"],
                parameters["window_dilation"],
                strict=True,
            )
        ]
        if is_same_padding(padding, shape, window, parameters["window_strides"]):
            return atom('"SAME"')
    return padding_text(padding)


def is_same_padding(
    padding: Sequence[tuple[int, int]],
    shape: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
) -> bool:
    """Says whether `"SAME"` stands for some padding."""
    same = lax.padtype_to_pads(
        np.asarray(shape), np.asarray(window), np.asarray(strides), "SAME"
    )
    given = [(int(low), int(high)) for low, high in padding]
    return given == [(int(low), int(high)) for low, high in same]


def padding_text(padding: Sequence[tuple[int, int]]) -> Expression:
    """Explicit padding, or `"VALID"` where there is none."""
    if all(low == 0 and high == 0 for low, high in padding):
        return atom('"VALID"')
    return integers([(low, high) for low, high in padding])


def _identity(equation: Equation, operation: str, dtype: np.dtype) -> Expression:
    """The number that changes nothing under the operation."""
    if jnp.issubdtype(dtype, np.floating):
        texts = {"add": "0.0", "max": "-jnp.inf", "min": "jnp.inf"}
    elif jnp.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        texts = {"add": "0", "max": str(limits.min), "min": str(limits.max)}
    else:
        raise NotPrintableError(
            primitive=equation.primitive.name, reason=f"its elements are {dtype}"
        )
    text = texts[operation]
    return negative(text) if text.startswith("-") else atom(text)


def _sort(equation: Equation, operands: Sequence[Value], _: Context):
    check_known(equation, "dimension", "is_stable", "num_keys")
    parameters = equation.parameters
    arrays = [exact(operand) for operand in operands]
    single = len(arrays) == 1
    expression = call(
        "lax.sort",
        arrays[0] if single else sequence(arrays),
        dimension=str(int(parameters["dimension"])),
        **flags(parameters, is_stable=True, num_keys=1),
    )
    if single:
        return whole(expression, aval_of(equation.outputs[0]))
    return Unpacked(expression=expression, target=tuple_target)


def _top_k(equation: Equation, operands: Sequence[Value], _: Context) -> Unpacked:
    check_known(equation, "k", "operand", "axis")
    last = len(operands[0].full_shape) - 1
    expression = call(
        "lax.top_k",
        exact(operands[0]),
        atom(str(int(equation.parameters["k"]))),
        **flags(equation.parameters, axis=last),
    )
    return Unpacked(expression=expression, target=tuple_target)


def _approximate_top_k(
    equation: Equation, operands: Sequence[Value], _: Context
) -> Unpacked:
    parameters = equation.parameters
    last = len(operands[0].full_shape) - 1
    axis = int(parameters["reduction_dimension"])
    keywords = flags(
        {**parameters, "reduction_dimension": -1 if axis == last else axis},
        reduction_dimension=-1,
        recall_target=0.95,
        reduction_input_size_override=-1,
        aggregate_to_topk=True,
    )
    check_known(equation, "k", "is_max_k", *_APPROXIMATE)
    name = "approx_max_k" if parameters["is_max_k"] else "approx_min_k"
    count = atom(str(int(parameters["k"])))
    expression = call(f"lax.{name}", exact(operands[0]), count, **keywords)
    return Unpacked(expression=expression, target=tuple_target)


_APPROXIMATE = (
    "reduction_dimension",
    "recall_target",
    "reduction_input_size_override",
    "aggregate_to_topk",
)


def _reduce(equation: Equation, operands: Sequence[Value], context: Context) -> Result:
    """A reduction with a computation of the user's own, as a local function."""
    check_known(equation, "computation", "dimensions", "jaxpr", "consts")
    parameters = equation.parameters
    count = len(equation.outputs)
    closed = parameters["jaxpr"]
    if isinstance(closed, Jaxpr):
        closed = ClosedJaxpr(closed, list(parameters["consts"]))
    signature = Signature(
        arguments=tuple(
            Group(name=name, each=name, positions=tuple(range(start, start + count)))
            for name, start in (("left", 0), ("right", count))
        ),
        results=(Group(name="both", positions=tuple(range(count))),),
    )
    function = context.local_function("combine", flatten(closed), signature)
    arrays = [exact(operand) for operand in operands]
    several = count > 1
    arguments = (
        [sequence(arrays[:count]), sequence(arrays[count:])] if several else arrays
    )
    axes = integers(parameters["dimensions"])
    expression = call("lax.reduce", *arguments, function, axes)
    if several:
        return Unpacked(expression=expression, target=tuple_target)
    return whole(expression, aval_of(equation.outputs[0]))


PRINTERS: dict[Primitive, Printer] = {
    primitives.reduce_p: _reduce,
    primitives.approx_top_k_p: _approximate_top_k,
    primitives.reduce_sum_p: _reduction("sum", "reduce_sum", *_KEPT_BY_SUM),
    primitives.reduce_prod_p: _reduction("prod", "reduce_prod", *_KEPT_BY_SUM),
    primitives.reduce_max_p: _reduction("max", "reduce_max"),
    primitives.reduce_min_p: _reduction("min", "reduce_min"),
    primitives.reduce_and_p: _reduction("all", "reduce_and", "bool"),
    primitives.reduce_or_p: _reduction("any", "reduce_or", "bool"),
    primitives.reduce_xor_p: _lax_reduction("reduce_xor"),
    primitives.argmax_p: _search("argmax"),
    primitives.argmin_p: _search("argmin"),
    primitives.cumsum_p: _cumulative("cumsum"),
    primitives.cumprod_p: _cumulative("cumprod"),
    primitives.cummax_p: _cumulative("cummax"),
    primitives.cummin_p: _cumulative("cummin"),
    primitives.cumlogsumexp_p: _cumulative("cumlogsumexp"),
    primitives.reduce_window_sum_p: _window("add"),
    primitives.reduce_window_max_p: _window("max"),
    primitives.reduce_window_min_p: _window("min"),
    primitives.sort_p: _sort,
    primitives.top_k_p: _top_k,
}
