"""Printers of products: `dot_general` and its ragged form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import (
    Expression,
    atom,
    attribute,
    binary,
    call,
    sequence,
)
from ntkplan.emit.primitives.context import Context, Printer
from ntkplan.emit.primitives.parameters import check_known, precision_keywords
from ntkplan.emit.primitives.value import Value, aval_of, exact, integers, whole
from ntkplan.ir.equation import Equation

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


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
}

# JAX exports no object for it.
PRINTERS_BY_NAME: dict[str, Printer] = {"ragged_dot_general": _ragged_dot}
