"""Uses and layers: where a parameter leaf meets data, in labels.

A label names an axis. Axes of the value, of the activations and of the parameter that
carry one label are the same axis; nothing else need be said of a linear map:

    J[n, o, parameter] = sum over the other labels of
                         C[n, o, value] * A[n, activations]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ntkplan._jax import Var, array_shape
from ntkplan.ir.graph import Leaf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patches:
    """How a convolution's input becomes one window per output position.

    The input's axes are first brought into the order batch, spatial, features.

    Attributes:
        order: Axes of the recorded input in the order batch, spatial, features.
        window: Spatial size of the kernel.
        strides: Steps between windows.
        padding: Entries added before and after each spatial axis.
        input_dilation: Steps between input entries, holes filled with zeros.
        window_dilation: Steps between the entries of one window.
    """

    order: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    input_dilation: tuple[int, ...]
    window_dilation: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Use:
    """One equation in which a leaf, through a linear prefix, meets other values.

    Axes of length one carry no label.

    Attributes:
        rule: Name of the rule that gave the labels.
        equation: Number of the equation in the graph's body, -1 for the leaf itself.
        operand: Which operand of the equation the leaf is, -1 for the leaf itself.
        tap: The variable to whose value the tap is added.
        value: Labels of the tap's axes.
        recorded: The variable that holds the data side, or None where it is constant.
        activations: Labels of the recorded variable's axes (after `patches`).
        patches: How the recorded variable is cut into windows, or None.
        parameter: Labels of the leaf's axes; a leaf axis may have several.
        sizes: Length of every label.
        factor: A constant by which the use is multiplied.
    """

    rule: str
    equation: int
    operand: int
    tap: Var
    value: tuple[str, ...]
    recorded: Var | None
    activations: tuple[str, ...]
    patches: Patches | None
    parameter: tuple[str, ...]
    sizes: Mapping[str, int]
    factor: float

    @property
    def form(self) -> tuple[object, ...]:
        """What two uses must share for their tensors to be stacked."""
        return (
            self.value,
            self.recorded is None,
            self.activations,
            self.patches is None,
            self.parameter,
            tuple(sorted(self.sizes.items())),
            self.factor,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Uses of one form; with more than one, they share a further position axis.

    Attributes:
        uses: The uses, in the order of their equations.
        cotangents_id: Number of the array of cotangents; stacks of several leaves that
            share their taps share it.
        activations_id: Number of the array of activations, likewise; -1 for none.
    """

    uses: tuple[Use, ...]
    cotangents_id: int = -1
    activations_id: int = -1

    @property
    def first(self) -> Use:
        """The use that stands for the form of all."""
        return self.uses[0]

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of one use's cotangent, one axis for every label."""
        return tuple(self.first.sizes[label] for label in self.first.value)

    @property
    def recorded_shape(self) -> tuple[int, ...]:
        """Shape of one use's recorded activations.

        Before windows are cut: batch (unless of length one), spatial axes, features.
        """
        use = self.first
        if use.patches is None or use.recorded is None:
            return tuple(use.sizes[label] for label in use.activations)
        shape = tuple(array_shape(use.recorded)[axis] for axis in use.patches.order)
        return shape[1:] if shape[0] == 1 else shape


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A leaf with all its uses.

    Attributes:
        leaf: The leaf.
        stacks: Its uses, those of one form together.
        opaque: Why no rule covers the leaf, or None where rules cover all its uses. An
            opaque layer has one use: the leaf itself is tapped.
        idle: Whether the output does not depend on the leaf.
        no_forward: Why no tangent can be pushed forward from the leaf, or None.
    """

    leaf: Leaf
    stacks: tuple[Stack, ...]
    opaque: str | None = None
    idle: bool = False
    no_forward: str | None = None

    @property
    def taps(self) -> tuple[Var, ...]:
        """The variables that are tapped for this layer."""
        return tuple(use.tap for stack in self.stacks for use in stack.uses)
