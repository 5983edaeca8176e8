"""What derivatives of some leaves pass through, and what is held for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.ir.use import Layer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passing:
    """Sizes of the values that cotangents, or tangents, pass.

    Attributes:
        most_entries: Entries of the largest.
        entries: Entries of all.
    """

    most_entries: int
    entries: int

    @classmethod
    def of(cls, active: Collection[Var]) -> Passing:
        """Returns the sizes of some variables."""
        sizes = [entries(variable) for variable in active]
        return cls(most_entries=max(sizes, default=0), entries=sum(sizes))

    def passing(self, columns: int) -> int:
        """Counts entries of cotangents or tangents on their way, and the values there.

        Args:
            columns: How many cotangents or tangents.
        """
        return 2 * self.most_entries * columns + self.entries


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moved:
    """What one example moves and holds for some tapped leaves.

    Attributes:
        pulled: Variables that cotangents pass.
        pushed: Variables that the tangents of small leaves pass.
        n_tangents: How many these are.
        of_pulled: Sizes of what cotangents pass.
        of_pushed: Sizes of what tangents pass.
        tap_entries: Entries of all taps.
        recorded_entries: Entries of what is recorded.
    """

    pulled: frozenset[Var]
    pushed: frozenset[Var]
    n_tangents: int
    of_pulled: Passing
    of_pushed: Passing
    tap_entries: int
    recorded_entries: int


def recorded_variables(layers: Sequence[Layer]) -> list[Var]:
    """Returns what is recorded of an example for some leaves, each variable once."""
    uses = [use for layer in layers for stack in layer.stacks for use in stack.uses]
    recorded = dict.fromkeys(
        variable
        for use in uses
        for variable in (
            use.recorded,
            *(factor.variable for factor in use.factors if not factor.shared),
        )
        if variable is not None
    )
    return list(recorded)


def entries(variable: Var) -> int:
    """Returns how many entries a variable has."""
    return math.prod(array_shape(variable))
