"""Printers of contractions: `dot_general` and convolutions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jax import lax

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import (
    Expression,
    atom,
    attribute,
    binary,
    call,
    indented,
    sequence,
    statement,
)
from ntkplan.emit.primitives.context import Context, Printer
from ntkplan.emit.primitives.parameters import check_known, flags, precision_keywords
from ntkplan.emit.primitives.reduction import is_same_padding, padding_text
from ntkplan.emit.primitives.value import Value, aval_of, exact, integers, whole
from ntkplan.ir.equation import Equation

# Columns inside of a function.
_WIDTH = 84
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SPATIAL = {0: "", 1: "W", 2: "HW", 3: "DHW"}


def _dot_general(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(equation, "dimension_numbers", "precision", "preferred_element_type")
    aval = aval_of(equation.outputs[0])
    left, right = (exact(operand) for operand in operands)
    keywords = precision_keywords(equation)
    if operands[0].dtype != operands[1].dtype:
        numbers = equation.parameters["dimension_numbers"]
        pairs = sequence([integers(pair) for pair in numbers])
        expression = call("lax.dot_general", left, right, pairs, **keywords)
        return whole(expression, aval)
    ranks = tuple(len(operand.full_shape) for operand in operands)
    matmul = _as_matmul(equation, ranks)
    if matmul is None:
        text = _einsum_text(equation, ranks, None)
        expression = call("jnp.einsum", atom(f'"{text}"'), left, right, **keywords)
    else:
        if matmul == "transposed":
            right = attribute(right, "T")
        expression = (
            call("jnp.matmul", left, right, **keywords)
            if keywords
            else binary("@", left, right)
        )
    value = whole(expression, aval)

    def transposed(permutation: tuple[int, ...]) -> Expression:
        swapped = _swapped(equation, operands, permutation)
        if swapped is not None and "precision" not in keywords:
            if keywords:
                return call("jnp.matmul", *swapped, **keywords)
            return binary("@", *swapped)
        text = _einsum_text(equation, ranks, permutation)
        plain = [exact(operand) for operand in operands]
        return call("jnp.einsum", atom(f'"{text}"'), *plain, **keywords)

    return dataclasses.replace(value, transposed=transposed)


def is_matmul(equation: Equation, permutation: tuple[int, ...] | None) -> bool:
    """Whether a contraction, its result permuted, prints as a product of matrices."""
    ranks = tuple(len(aval_of(operand).shape) for operand in equation.inputs)
    if permutation is None:
        return _as_matmul(equation, ranks) is not None
    return _is_swapped(equation, ranks, permutation)


def _as_matmul(equation: Equation, ranks: tuple[int, ...]) -> str | None:
    """Says whether `@` is the same, or is with the right operand transposed."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.parameters[
        "dimension_numbers"
    ]
    left_rank, right_rank = ranks
    if tuple(left_sum) != (left_rank - 1,):
        return None
    if not left_batch:
        if right_rank <= 2 and tuple(right_sum) == (0,):
            return "plain"
        return "transposed" if right_rank == 2 else None
    batch = tuple(range(len(left_batch)))
    same = tuple(left_batch) == batch and tuple(right_batch) == batch
    matrices = left_rank == right_rank == len(batch) + 2
    if same and matrices and tuple(right_sum) == (right_rank - 2,):
        return "plain"
    return None


def _swapped(
    equation: Equation, operands: Sequence[Value], permutation: tuple[int, ...]
) -> tuple[Expression, Expression] | None:
    """The factors of `right @ left`, if a permuted contraction is just that."""
    ranks = tuple(len(operand.full_shape) for operand in operands)
    if not _is_swapped(equation, ranks, permutation):
        return None
    (left_sum, _), _ = equation.parameters["dimension_numbers"]
    left, right = (exact(operand) for operand in operands)
    return right, (left if tuple(left_sum) == (0,) else attribute(left, "T"))


def _is_swapped(
    equation: Equation, ranks: tuple[int, ...], permutation: tuple[int, ...]
) -> bool:
    (left_sum, right_sum), (left_batch, _) = equation.parameters["dimension_numbers"]
    left_rank, right_rank = ranks
    return (
        not left_batch
        and left_rank == 2
        and len(left_sum) == 1
        and tuple(right_sum) == (right_rank - 1,)
        and permutation == (*range(1, right_rank), 0)
    )


def _einsum_text(
    equation: Equation, ranks: tuple[int, ...], permutation: tuple[int, ...] | None
) -> str:
    """The subscripts of a contraction, with its result permuted if asked for."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.parameters[
        "dimension_numbers"
    ]
    letters = iter(_LETTERS)
    left = [next(letters) for _ in range(ranks[0])]
    right = [""] * ranks[1]
    for ours, theirs in zip(
        (*left_batch, *left_sum), (*right_batch, *right_sum), strict=True
    ):
        right[theirs] = left[ours]
    right = [letter or next(letters) for letter in right]
    shared = {right[axis] for axis in (*right_batch, *right_sum)}
    result = [left[axis] for axis in left_batch]
    result += [letter for letter in left if letter not in shared]
    result += [letter for letter in right if letter not in shared]
    if permutation is not None:
        result = [result[axis] for axis in permutation]
    return f"{''.join(left)},{''.join(right)}->{''.join(result)}"


def _convolution(
    equation: Equation, operands: Sequence[Value], context: Context
) -> Value:
    parameters = equation.parameters
    dilations = ("lhs_dilation", "rhs_dilation")
    counts = ("feature_group_count", "batch_group_count")
    check_known(
        equation,
        "window_strides",
        "padding",
        "dimension_numbers",
        "precision",
        "preferred_element_type",
        *dilations,
        *counts,
    )
    numbers = parameters["dimension_numbers"]
    n_spatial = len(parameters["window_strides"])
    keywords = flags(
        {name: tuple(parameters[name]) for name in dilations},
        **dict.fromkeys(dilations, (1,) * n_spatial),
    )
    names = _layouts(numbers, n_spatial)
    layouts = sequence([f'"{name}"' for name in names])
    if names != _layouts_by_default(n_spatial):
        keywords["dimension_numbers"] = layouts
    keywords |= flags(parameters, **dict.fromkeys(counts, 1))
    keywords |= precision_keywords(equation)
    function = "lax.conv_general_dilated"
    needed = extras(equation)
    offered = context.module.layouts.get(convolution_layouts(equation))
    if offered is not None and needed <= offered:
        del keywords["dimension_numbers"]
        function = context.module.helper(
            ("convolution", layouts.text),
            "conv",
            lambda name: _helper(name, layouts, offered),
        )
    arguments = [exact(operand) for operand in operands]
    arguments.append(integers(parameters["window_strides"]))
    if function.startswith("lax.") or "padding" in needed:
        arguments.append(_padding(equation))
    expression = call(function, *arguments, **keywords)
    return whole(expression, aval_of(equation.outputs[0]))


def convolution_layouts(equation: Equation) -> tuple[str, ...] | None:
    """The order of axes of a convolution, where it has to be said; else None."""
    if equation.primitive is not primitives.conv_general_dilated_p:
        return None
    numbers = equation.parameters["dimension_numbers"]
    n_spatial = len(equation.parameters["window_strides"])
    layouts = _layouts(numbers, n_spatial)
    return None if layouts == _layouts_by_default(n_spatial) else layouts


def extras(equation: Equation) -> frozenset[str]:
    """Says what a convolution has beside strides: its own padding, options."""
    parameters = equation.parameters
    others = {
        *(x for name in ("lhs_dilation", "rhs_dilation") for x in parameters[name]),
        parameters["feature_group_count"],
        parameters["batch_group_count"],
    }
    found = {"options"} if others != {1} or precision_keywords(equation) else set()
    return frozenset(found | ({"padding"} if not _pads_to_same(equation) else set()))


def _helper(name: str, layouts: Expression, offered: frozenset[str]) -> str:
    """A convolution with an order of axes that many of a model's have."""
    given, options = ["x", "kernel", "strides"], []
    if "padding" in offered:
        given.append('padding="SAME"')
    if "options" in offered:
        given, options = [*given, "**options"], ["**options"]
    padding = "padding" if "padding" in offered else '"SAME"'
    arguments = ["x", "kernel", "strides", padding, "dimension_numbers=axes", *options]
    value = call("lax.conv_general_dilated", *map(atom, arguments))
    lines = [
        f"def {name}({', '.join(given)}):",
        '    """A convolution whose axes are in this order."""',
        f"    axes = {layouts.text}",
        *indented(statement("return ", value, _WIDTH)),
    ]
    return "\n".join(lines)


def _layouts(numbers: lax.ConvDimensionNumbers, n_spatial: int) -> tuple[str, ...]:
    """The order of axes as letters, for input, weights and output."""
    spatial = _SPATIAL.get(n_spatial, "0123456789"[:n_spatial])

    def spell(spec: Sequence[int], first: str, second: str) -> str:
        letters = [""] * len(spec)
        for axis, letter in zip(spec, (first, second, *spatial), strict=True):
            letters[axis] = letter
        return "".join(letters)

    return (
        spell(numbers.lhs_spec, "N", "C"),
        spell(numbers.rhs_spec, "O", "I"),
        spell(numbers.out_spec, "N", "C"),
    )


def _layouts_by_default(n_spatial: int) -> tuple[str, ...]:
    order = tuple(range(n_spatial + 2))
    return _layouts(lax.ConvDimensionNumbers(order, order, order), n_spatial)


def _padding(equation: Equation) -> Expression:
    """Padding as a word where one says exactly the same."""
    padding = [(int(low), int(high)) for low, high in equation.parameters["padding"]]
    if any(map(any, padding)) and _pads_to_same(equation):
        return atom('"SAME"')
    return padding_text(padding)


def _pads_to_same(equation: Equation) -> bool:
    """Says whether `"SAME"` stands for the padding, as it may where there is none."""
    parameters = equation.parameters
    numbers = parameters["dimension_numbers"]
    if set(parameters["lhs_dilation"]) != {1}:
        return False
    given, weights = (aval_of(item).shape for item in equation.inputs)
    sizes = [given[axis] for axis in numbers.lhs_spec[2:]]
    kernel = [weights[axis] for axis in numbers.rhs_spec[2:]]
    window = [
        (size - 1) * step + 1
        for size, step in zip(kernel, parameters["rhs_dilation"], strict=True)
    ]
    return is_same_padding(
        parameters["padding"], sizes, window, parameters["window_strides"]
    )


def _ragged_dot(equation: Equation, operands: Sequence[Value], _: Context) -> Value:
    check_known(
        equation,
        "ragged_dot_dimension_numbers",
        "precision",
        "preferred_element_type",
    )
    numbers = equation.parameters["ragged_dot_dimension_numbers"]
    names = (
        "dot_dimension_numbers",
        "lhs_ragged_dimensions",
        "rhs_group_dimensions",
    )
    expression = call(
        "lax.ragged_dot_general",
        *(exact(operand) for operand in operands),
        call(
            "lax.RaggedDotDimensionNumbers",
            **{name: integers(getattr(numbers, name)) for name in names},
        ),
        **precision_keywords(equation),
    )
    return whole(expression, aval_of(equation.outputs[0]))


PRINTERS: dict[Primitive, Printer] = {
    primitives.dot_general_p: _dot_general,
    primitives.conv_general_dilated_p: _convolution,
}

# JAX exports no object for it.
PRINTERS_BY_NAME: dict[str, Printer] = {"ragged_dot_general": _ragged_dot}
