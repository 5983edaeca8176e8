"""Statements over labelled arrays, of which a kernel function consists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ntkplan.ir.use import Patches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """An array in the kernel function.

    Attributes:
        name: How the kernel function calls it. Names of inputs are Python expressions.
        labels: The label of every axis.
        hot: A label along which the array is one at one index and zero elsewhere. Its
            axis is not stored; the array holds the indices.
        step: The axis at which the array is indexed by the step of a loop, or None. It
            has no label.
    """

    name: str
    labels: tuple[str, ...]
    hot: str | None = None
    step: int | None = None

    @property
    def stored(self) -> tuple[str, ...]:
        """Labels of the axes that the array has in memory."""
        return tuple(label for label in self.labels if label != self.hot)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """`target = sum over the labels that only the operands have of left * right`.

    Attributes:
        target: What is computed.
        left: An operand.
        right: The other.
        is_jacobian: Whether the target is the Jacobian of one side, a product of its
            cotangents and activations.
        entrywise: Whether it is printed as a product and a sum of arrays.
    """

    target: Array
    left: Array
    right: Array
    is_jacobian: bool = False
    entrywise: bool = False

    @property
    def summed(self) -> tuple[str, ...]:
        """Labels that are summed over, in the left operand's order."""
        return tuple(
            label for label in self.left.labels if label not in self.target.labels
        )

    @property
    def spread(self) -> tuple[str, ...] | None:
        """The axes of a product of arrays whose sum is the target, nothing transposed.

        None where there is no such order, or where an operand is not all in memory.
        """
        arrays = (self.left, self.right)
        if any(array.hot is not None or array.step is not None for array in arrays):
            return None
        for first, second in (arrays, arrays[::-1]):
            rest = (label for label in second.labels if label not in first.labels)
            order = (*first.labels, *rest)
            if all(
                array.labels == tuple(label for label in order if label in array.labels)
                for array in (second, self.target)
            ):
                return order
        return None

    @property
    def is_of_rows(self) -> bool:
        """Whether all rows of one array are multiplied with all rows of the other.

        A row is what the last axes hold, two or more; as a product of two matrices this
        needs no copy of either array.
        """
        summed = self.summed
        rows = self.left.labels[: len(self.left.labels) - len(summed)]
        columns = self.right.labels[: len(self.right.labels) - len(summed)]
        return (
            len(summed) > 1
            and self.left.labels == (*rows, *summed)
            and self.right.labels == (*columns, *summed)
            and self.target.labels == (*rows, *columns)
            and set(rows).isdisjoint(columns)
        )

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.left, self.right)

    def over(self, change: Callable[[Array], Array]) -> Contract:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self,
            target=change(self.target),
            left=change(self.left),
            right=change(self.right),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reduce:
    """`target = source summed over the axes that target lacks`, axes in order."""

    target: Array
    source: Array

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.source,)

    def over(self, change: Callable[[Array], Array]) -> Reduce:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self, target=change(self.target), source=change(self.source)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """`target = windows of source`, example axis first.

    Attributes:
        target: The windows.
        source: What they are cut from.
        patches: How.
        n_kept: How many leading axes, of examples and of uses, `shape` leaves out.
        spatial: Sizes of the source's axes over which windows run.
        windows_shape: Shape of what is cut, the leading axes left out.
        shape: The same without axes of length one, products of axes split.
        keeps_window: Whether windows are cut even where they are one entry.
        says_padding: Whether the padding is said even where it goes without saying.
        bias_scale: What follows on the axis that windows and features then share, so
            that a bias is contracted with them; None where they are as they are.
    """

    target: Array
    source: Array
    patches: Patches
    n_kept: int
    spatial: tuple[int, ...]
    windows_shape: tuple[int, ...]
    shape: tuple[int, ...]
    keeps_window: bool = False
    says_padding: bool = False
    bias_scale: float | None = None

    @property
    def entries_shape(self) -> tuple[int, ...]:
        """Shape of what is cut where a window is one entry, without the window."""
        rank = len(self.patches.window)
        return (*self.windows_shape[: -rank - 1], self.windows_shape[-1])

    @property
    def takes_entries(self) -> bool:
        """Whether entries are taken, and no windows cut."""
        return self.patches.is_slice and not self.keeps_window

    @property
    def is_alias(self) -> bool:
        """Whether all of the source is cut, as it is."""
        whole = self.patches.is_slice and set(self.patches.strides) == {1}
        return whole and self.entries_shape == self.shape

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.source,)

    def over(self, change: Callable[[Array], Array]) -> Cut:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self, target=change(self.target), source=change(self.source)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sum:
    """`target = first + second + ...`, each brought into the target's label order."""

    target: Array
    terms: tuple[Array, ...]
    factors: tuple[float, ...]

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return self.terms

    def over(self, change: Callable[[Array], Array]) -> Sum:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self, target=change(self.target), terms=tuple(map(change, self.terms))
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """`target = whether the rows of left and right are the same`, as zeros and ones.

    Attributes:
        target: What is computed.
        left: Rows.
        right: Rows.
        size: How many rows there are; one from `size` up stands for none.
    """

    target: Array
    left: Array
    right: Array
    size: int

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.left, self.right)

    def over(self, change: Callable[[Array], Array]) -> Match:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self,
            target=change(self.target),
            left=change(self.left),
            right=change(self.right),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scatter:
    """`target = source summed over positions into the rows that it belongs to`.

    Attributes:
        target: Labels that both operands keep, then the rows, then the rest.
        source: What is summed.
        rows: The row of every position.
        size: How many rows there are.
    """

    target: Array
    source: Array
    rows: Array
    size: int

    @property
    def kept(self) -> tuple[str, ...]:
        """Labels that both operands and the target have."""
        return tuple(x for x in self.rows.stored if x in self.target.labels)

    @property
    def positions(self) -> tuple[str, ...]:
        """Labels that are summed over."""
        return tuple(x for x in self.rows.stored if x not in self.target.labels)

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.source, self.rows)

    def over(self, change: Callable[[Array], Array]) -> Scatter:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self,
            target=change(self.target),
            source=change(self.source),
            rows=change(self.rows),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Take:
    """`target = the rows of source`.

    Attributes:
        target: Labels that both operands have, those of the rows, then the rest.
        source: What has the rows.
        rows: Which rows are taken.
    """

    target: Array
    source: Array
    rows: Array

    @property
    def kept(self) -> tuple[str, ...]:
        """Labels that both operands have."""
        return tuple(x for x in self.rows.stored if x in self.source.labels)

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that are read."""
        return (self.source, self.rows)

    def over(self, change: Callable[[Array], Array]) -> Take:
        """Returns the same statement over other arrays."""
        return dataclasses.replace(
            self,
            target=change(self.target),
            source=change(self.source),
            rows=change(self.rows),
        )


Statement = Contract | Reduce | Cut | Sum | Match | Scatter | Take
