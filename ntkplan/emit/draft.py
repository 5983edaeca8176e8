"""What is to be printed as the statements of one function."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from ntkplan._jax import Var
from ntkplan.emit.expression import Expression, atom, binary, call, statement
from ntkplan.emit.primitives.context import Step

IN_ORDER = "in_order"
"""The emitted function that says how an array is to lie in memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """What is added to a variable where it is defined.

    Attributes:
        text: It, as Python.
        ordered: Whether the sum, and so its cotangent, is kept with its axes in order.
    """

    text: str
    ordered: bool = False

    def to(self, value: Expression) -> Expression:
        """Returns the sum."""
        added = binary("+", value, atom(self.text))
        return call(IN_ORDER, added) if self.ordered else added

    def onto(self, name: str, width: int) -> list[str]:
        """Prints how it is added to what has a name."""
        if self.ordered:
            return statement(f"{name} = ", self.to(atom(name)), width)
        return statement(f"{name} += ", atom(self.text), width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be printed, before it is decided what gets a name.

    Attributes:
        steps: Equations, and groups of them that print as one.
        visible: Variables that have a name of their own whatever happens.
        hints: Wanted names.
        after: What is added to variables.
        returned_by: The user's functions that return variables.
    """

    steps: tuple[Step, ...]
    visible: frozenset[Var]
    hints: Mapping[Var, str]
    after: Mapping[Var, Added]
    returned_by: Mapping[Var, str] = dataclasses.field(default_factory=dict)

    def clear(self, named: Collection[Var]) -> dict[Var, str]:
        """Returns functions that return one variable each, of those with a plain name.

        Args:
            named: Variables that get a name.
        """
        plain = [
            variable
            for step in self.steps
            for variable in step.outputs
            if variable in named and variable not in self.hints
        ]
        functions = [self.returned_by.get(variable) for variable in plain]
        return {
            variable: function
            for variable, function in zip(plain, functions, strict=True)
            if function is not None and functions.count(function) == 1
        }
