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

    @property
    def is_slice(self) -> bool:
        """Whether a window is one entry of the input, so that nothing is copied."""
        return (
            set(self.window) == {1}
            and set(self.input_dilation) == {1}
            and not any(any(pair) for pair in self.padding)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crop:
    """The part of an array that a leaf has to do with.

    Attributes:
        shape: The array's shape, axes of length one left out or kept.
        slices: Start, stop and step along each axis of it.
    """

    shape: tuple[int, ...]
    slices: tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Factor:
    """An array by which a use is multiplied: data-free, or the slope to a later tap.

    Attributes:
        variable: What holds it.
        labels: Labels of its axes.
        shared: Whether it is the same for every example.
        hot: A label of the parameter of which the variable holds indices, or None.
    """

    variable: Var
    labels: tuple[str, ...]
    shared: bool
    hot: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Use:
    """One equation in which a leaf, through a prefix, meets other values.

    Axes of length one carry no label.

    Attributes:
        rule: Name of the rule that gave the labels.
        prefix: Names of the primitives that multiply the leaf before it meets data.
        place: Numbers of equation and operand, from the outermost body inwards; empty
            for the leaf itself.
        tap: The variable to whose value the tap is added.
        value: Labels of the tap's axes.
        value_crop: The part of the tap that the leaf has to do with; None for all.
        recorded: The variable that holds the data side, or None where it is constant.
        shared: Whether that is the same for every example.
        activations: Labels of the recorded variable's axes (after `patches`).
        activations_crop: The part of it that the leaf has to do with; None for all.
        patches: How the recorded variable is cut into windows, or None.
        n_steps: How many leading axes of the recorded variable count steps of loops.
        hot: A label of the parameter of which `recorded` holds indices: the data side
            is one there and zero elsewhere. None where it holds the data side itself.
        factors: Arrays by which the use is multiplied.
        steps: Labels of the parameter that count the steps of a loop around the use.
        parameter: Labels of the leaf's axes; a leaf axis may have several.
        region: Number of the part of the leaf that is used; two are disjoint.
        sizes: Length of every label.
        factor: A constant by which the use is multiplied.
    """

    rule: str
    prefix: tuple[str, ...] = ()
    place: tuple[tuple[int, int], ...] = ()
    tap: Var
    value: tuple[str, ...]
    value_crop: Crop | None = None
    recorded: Var | None = None
    shared: bool = False
    activations: tuple[str, ...] = ()
    activations_crop: Crop | None = None
    patches: Patches | None = None
    n_steps: int = 0
    hot: str | None = None
    factors: tuple[Factor, ...] = ()
    steps: tuple[str, ...] = ()
    parameter: tuple[str, ...]
    region: int = 0
    sizes: Mapping[str, int]
    factor: float = 1.0

    @property
    def equation(self) -> int:
        """Number of the equation in the model's body, -1 for the leaf itself."""
        return self.place[0][0] if self.place else -1

    @property
    def form(self) -> tuple[object, ...]:
        """What two uses must share for their tensors to be stacked."""
        return (
            self.region,
            self.value,
            self.value_crop,
            array_shape(self.tap),
            self.recorded is None,
            self.shared,
            self.activations,
            self.activations_crop,
            self.patches is None,
            self.n_steps,
            self.hot,
            tuple((each.labels, each.shared, each.hot) for each in self.factors),
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
        factor_ids: Numbers of the arrays of factors, likewise.
    """

    uses: tuple[Use, ...]
    cotangents_id: int = -1
    activations_id: int = -1
    factor_ids: tuple[int, ...] = ()

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

        Before windows are cut: steps, batch (unless of length one), spatial axes,
        features.
        """
        use = self.first
        if use.patches is None or use.recorded is None:
            return tuple(use.sizes[label] for label in use.activations)
        shape = tuple(array_shape(use.recorded)[axis] for axis in use.patches.order)
        lead = tuple(size for size in shape[: use.n_steps + 1] if size != 1)
        return (*lead, *shape[use.n_steps + 1 :])

    def factor_variables(self, number: int) -> tuple[Var, ...]:
        """Returns the variables of one factor: one where all uses have the same."""
        found = tuple(use.factors[number].variable for use in self.uses)
        return found[:1] if len(set(found)) == 1 else found


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
        absent: Places where a slice takes no entry of the leaf, and the number of the
            result that has none.
        by_tangents: Whether the Jacobian is made by pushing the leaf's tangents
            forward. Such a layer has one use: the leaf itself is tapped.
        later: The same leaf with its taps after sums over positions, where that can be
            said.
    """

    leaf: Leaf
    stacks: tuple[Stack, ...]
    opaque: str | None = None
    idle: bool = False
    no_forward: str | None = None
    absent: tuple[tuple[tuple[tuple[int, int], ...], int], ...] = ()
    by_tangents: bool = False
    later: Layer | None = None

    @property
    def taps(self) -> tuple[Var, ...]:
        """The variables that are tapped for this layer."""
        return tuple(use.tap for stack in self.stacks for use in stack.uses)

    @property
    def regions(self) -> tuple[tuple[Stack, ...], ...]:
        """The stacks, those that use the same part of the leaf together."""
        found: dict[int, list[Stack]] = {}
        for stack in self.stacks:
            found.setdefault(stack.first.region, []).append(stack)
        return tuple(map(tuple, found.values()))

    @property
    def recorded(self) -> tuple[Var, ...]:
        """The variables that are recorded for this layer."""
        uses = [use for stack in self.stacks for use in stack.uses]
        return (
            *(use.recorded for use in uses if use.recorded is not None),
            *(factor.variable for use in uses for factor in use.factors),
        )
