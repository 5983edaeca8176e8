"""What derivatives of some leaves pass through, and what is held for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.cost.symbols import Size
from ntkplan.ir.use import Layer
from ntkplan.rules.equation_work import DerivativeCounts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passing:
    """Sizes of the values that cotangents, or tangents, pass.

    Attributes:
        most_entries: Entries of the largest.
        kept_entries: Entries of those that the forward pass keeps.
        copied_entries: The most that a library copies of a cotangent on its way.
    """

    most_entries: int
    kept_entries: int
    copied_entries: int

    @classmethod
    def of(cls, active: Collection[Var], counts: DerivativeCounts) -> Passing:
        """Returns the sizes of some variables."""
        return cls(
            most_entries=max(map(entries, active), default=0),
            kept_entries=counts.kept_entries(active),
            copied_entries=counts.copied_entries(active),
        )

    def passing(self, columns: Size, *, copied: bool) -> Size:
        """Counts entries of cotangents or tangents on their way, and the values there.

        Args:
            columns: How many cotangents or tangents.
            copied: Whether libraries copy any, see `ntkplan.cost.profile.Memory`.
        """
        return self.moving(columns, copied=copied) + self.kept_entries

    def moving(self, columns: Size, *, copied: bool) -> Size:
        """Counts entries of cotangents or tangents on their way alone.

        Args:
            columns: How many cotangents or tangents.
            copied: As for `passing`.
        """
        return (2 * self.most_entries + copied * self.copied_entries) * columns


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Moved:
    """What one example moves and holds for some tapped leaves.

    Attributes:
        pulled: Variables that cotangents pass.
        pushed: Variables that the tangents of small leaves pass.
        n_tangents: How many these are.
        of_pulled: Sizes of what cotangents pass.
        of_pushed: Sizes of what tangents pass.
        waiting_of: For every tap the bytes of cotangents that may wait for a later
            branch of the sweep while its leaf is computed.
        base_of: For every tap the one whose cotangent is held for it.
        recorded_entries: Entries of what is recorded.
    """

    pulled: frozenset[Var]
    pushed: frozenset[Var]
    n_tangents: int
    of_pulled: Passing
    of_pushed: Passing
    waiting_of: Mapping[Var, int]
    base_of: Mapping[Var, Var]
    recorded_entries: int

    @property
    def tap_entries(self) -> int:
        """Entries of all taps whose cotangents are held."""
        return sum(map(entries, dict.fromkeys(self.base_of.values())))


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
