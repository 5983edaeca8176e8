"""What is to be printed as the statements of one function."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from ntkplan._jax import Var
from ntkplan.emit.primitives.context import Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be printed, before it is decided what gets a name.

    Attributes:
        steps: Equations, and groups of them that print as one.
        visible: Variables that have a name of their own whatever happens.
        hints: Wanted names.
        after: Expressions to be added to variables.
        returned_by: The user's functions that return variables.
    """

    steps: tuple[Step, ...]
    visible: frozenset[Var]
    hints: Mapping[Var, str]
    after: Mapping[Var, str]
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
