"""What a module calls by reference: an equation of the model that has no source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ntkplan.ir.equation import Equation


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """One equation as a function of its variables.

    Attributes:
        equation: The equation.
        function: Applies it; takes the variables among its inputs, returns a list.
    """

    equation: Equation
    function: Callable[..., Any]

    def __call__(self, *operands: Any) -> Any:
        """Applies the equation."""
        return self.function(*operands)
