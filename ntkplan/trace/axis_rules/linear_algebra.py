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
    "triangular_solve": (2, 2),
    "tridiagonal": (2,),
    "tridiagonal_solve": (1, 1, 1, 2),
}
_TRAILING_AXES_IN_SOME_VERSIONS: dict[str, tuple[int, ...]] = {
    "cholesky_update": (2, 1),
    "lu_pivots_to_permutation": (1,),
    "symmetric_product": (2, 2),
}
_TRANSFORMS = Mixes(why="it transforms along the axis of the examples")


def _leading(trailing_axes: tuple[int, ...]) -> AxisRule:
    """Returns the rule of a primitive whose operands have so many trailing axes."""

    def rule(equation: Equation, operand: int, factor: Factor) -> Outcome:
        rank = len(shape_of(equation.inputs[operand]))
        inside = factor.position >= rank - trailing_axes[operand]
        return _TRANSFORMS if inside else factor

    return rule


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
        (named(["fft"])[0], fft),
    ]
