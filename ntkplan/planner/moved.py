"""What derivatives of some leaves pass through, and what is held for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.ir.use import Layer
from ntkplan.rules.equation_work import DerivativeCounts
from ntkplan.rules.work.copies import Copies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passing:
    """Sizes of the values that cotangents, or tangents, pass.

    Attributes:
        most_entries: Entries of the largest.
        kept_entries: Entries of those that the forward pass keeps.
        copies: What libraries copy of a cotangent on its way.
    """

    most_entries: int
    kept_entries: int
    copies: tuple[Copies, ...]

    @classmethod
    def of(cls, active: Collection[Var], counts: DerivativeCounts) -> Passing:
        """Returns the sizes of some variables."""
        return cls(
            most_entries=max(map(entries, active), default=0),
            kept_entries=counts.kept_entries(active),
            copies=counts.copies(active),
        )

    def passing(self, columns: int, window_channels: int) -> int:
        """Counts entries of cotangents or tangents on their way, and the values there.

        Args:
            columns: How many cotangents or tangents.
            window_channels: The device's, see `ntkplan.cost.profile.Memory`; 0 where
                libraries copy nothing.
        """
        return self.moving(columns, window_channels) + self.kept_entries

    def moving(self, columns: int, window_channels: int) -> int:
        """Counts entries of cotangents or tangents on their way alone.

        Args:
            columns: How many cotangents or tangents.
            window_channels: As for `passing`.
        """
        copied = 0
        if window_channels:
            each = (item.entries(window_channels) for item in self.copies)
            copied = max(each, default=0)
        return (2 * self.most_entries + copied) * columns


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
