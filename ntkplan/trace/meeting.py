"""Where a leaf meets data, or what keeps that from being said in labels."""

from __future__ import annotations

import dataclasses

from ntkplan._jax import Var
from ntkplan.ir.use import Patches
from ntkplan.rules.axes import Atom, AxisMap, Placement
from ntkplan.trace.sunk_taps import Place

Part = Atom | str
"""What an axis is made of: a piece of the leaf, or a label of the rule's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """One axis of an array: its parts, and where they lie in it if not everywhere."""

    parts: tuple[Part, ...]
    placement: Placement | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Meeting:
    """An equation in which a leaf meets data, before its labels have names.

    Attributes:
        rule: Name of the rule.
        place: Numbers of equation and operand, from the outermost body inwards.
        tap: The variable that is tapped.
        scaled: A place for the tap that is as good, but for a number.
        value: Axes of the tap.
        recorded: What holds the data side, or None.
        activations: Axes of that.
        patches: How it is cut into windows.
        n_steps: How many leading axes of `recorded` count the steps of loops.
        hot: The part of the leaf that `recorded` holds indices of, or None.
        axis_map: What the leaf was when it met data.
        sizes: Lengths of the rule's own labels.
        factor: What the product is multiplied by.
    """

    rule: str
    place: tuple[tuple[int, int], ...]
    tap: Var
    scaled: Place
    value: tuple[Parts, ...]
    recorded: Var | None
    activations: tuple[Parts, ...]
    patches: Patches | None
    n_steps: int = 0
    hot: Atom | None
    axis_map: AxisMap
    sizes: dict[str, int]
    factor: float

    @property
    def tapped_after_scaling(self) -> Meeting:
        """The meeting with its tap where scalings have led to a further sum."""
        factor = self.factor * self.scaled.factor
        return dataclasses.replace(self, tap=self.scaled.tap, factor=factor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absence:
    """An equation of whose results one has no entry of the leaf.

    Attributes:
        place: Numbers of equation and operand, from the outermost body inwards.
        result: Which result.
    """

    place: tuple[tuple[int, int], ...]
    result: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uncovered:
    """Why a leaf is opaque."""

    reason: str
