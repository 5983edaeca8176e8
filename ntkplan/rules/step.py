"""One read of an array that is made of a leaf."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.ir.equation import Equation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One read of a leaf's array by an equation without data.

    Attributes:
        equation: The equation.
        number: Its number.
        operand: Which operand the leaf's array is.
        depth: How many bodies of loops and branches the equation is inside of.
        partial: Returns the variable that holds the derivative of the result by the
            operand, entry by entry, for an equation that is entrywise in it.
        derive: Applies a function to operands, as part of the model; returns the
            variable that holds its result.
        whole: Whether a slice of the leaf is to be a look-up of its entries, so that
            all uses are of the whole leaf.
    """

    equation: Equation
    number: int
    operand: int
    depth: int
    partial: Callable[[], Var]
    derive: Callable[..., Var]
    whole: bool = False

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the equation's result."""
        return array_shape(self.equation.outputs[0])

    @property
    def name(self) -> str:
        """Name of the equation's primitive."""
        return self.equation.primitive.name

    def parameter(self, name: str) -> object:
        """Returns one of the primitive's parameters."""
        return self.equation.parameters.get(name)


def is_real(step: Step) -> bool:
    """Says whether all results of a step's equation are real floating-point numbers."""
    return all(
        jnp.issubdtype(array_dtype(variable), jnp.floating)
        for variable in step.equation.outputs
    )
