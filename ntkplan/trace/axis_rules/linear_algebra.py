"""Axis rules of matrix functions and Fourier transforms: leading axes are batches."""

from __future__ import annotations

from ntkplan._jax import Primitive
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules.factor import (
    AxisRule,
    Factor,
    Mixes,
    Outcome,
    named,
    named_where_present,
    shape_of,
)

# How many trailing axes of each operand belong to one problem.
_TRAILING_AXES: dict[str, tuple[int, ...]] = {
    "cholesky": (2,),
    "eig": (2,),
    "eigh": (2,),
    "hessenberg": (2,),
    "householder_product": (2, 1),
    "lu": (2,),
    "qr": (2,),
    "schur": (2,),
    "svd": (2,),
    "tridiagonal": (2,),
}
_TRAILING_AXES_IN_SOME_VERSIONS: dict[str, tuple[int, ...]] = {
    "lu_pivots_to_permutation": (1,),
}
_TRANSFORMS = Mixes(why="it transforms along the axis of the examples")


def _leading(trailing_axes: tuple[int, ...]) -> AxisRule:
    """Returns the rule of a primitive whose operands have so many trailing axes."""

    def rule(equation: Equation, operand: int, factor: Factor) -> Outcome:
        rank = len(shape_of(equation.inputs[operand]))
        inside = factor.position >= rank - trailing_axes[operand]
        return _TRANSFORMS if inside else factor

    return rule


def triangular_solve(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Solves for the columns of the right side, or its rows, each by itself."""
    rank = len(shape_of(equation.inputs[operand]))
    free_axis = rank - 1 if equation.parameters["left_side"] else rank - 2
    if factor.position < rank - 2 or (operand == 1 and factor.position == free_axis):
        return factor
    return _TRANSFORMS


def tridiagonal_solve(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Solves for the columns of the right side, each by itself."""
    rank = len(shape_of(equation.inputs[operand]))
    is_right_side = operand == len(equation.inputs) - 1
    solved_axis = rank - 2 if is_right_side else rank - 1
    return _TRANSFORMS if factor.position == solved_axis else factor


def fft(equation: Equation, operand: int, factor: Factor) -> Outcome:
    """Transforms the trailing axes."""
    rank = len(shape_of(equation.inputs[0]))
    inside = factor.position >= rank - len(equation.parameters["fft_lengths"])
    return _TRANSFORMS if inside else factor


def rules() -> list[tuple[Primitive, AxisRule]]:
    """Returns the rules of this family."""
    return [
        *(
            (named([name])[0], _leading(trailing))
            for name, trailing in _TRAILING_AXES.items()
        ),
        *(
            (primitive, _leading(trailing))
            for name, trailing in _TRAILING_AXES_IN_SOME_VERSIONS.items()
            for primitive in named_where_present([name])
        ),
        (named(["triangular_solve"])[0], triangular_solve),
        (named(["tridiagonal_solve"])[0], tridiagonal_solve),
        (named(["fft"])[0], fft),
    ]
