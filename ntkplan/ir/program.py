"""The kernel function as statements over labelled arrays; what the emitter prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from ntkplan._jax import Var
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.use import Crop, Patches


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
    """`target = sum over the labels that only the operands have of left * right`."""

    target: Array
    left: Array
    right: Array

    @property
    def summed(self) -> tuple[str, ...]:
        """Labels that are summed over, in the left operand's order."""
        return tuple(
            label for label in self.left.labels if label not in self.target.labels
        )

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
        windows_shape: Shape of what is cut, the leading axes left out.
        shape: The same without axes of length one, products of axes split.
    """

    target: Array
    source: Array
    patches: Patches
    n_kept: int
    windows_shape: tuple[int, ...]
    shape: tuple[int, ...]

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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tap:
    """A variable of the model to which something is added, so as to differentiate.

    Attributes:
        key: Its key in the dictionary of taps.
        variable: The variable.
        shape: The variable's shape without axes of length one.
        dtype: The variable's dtype.
    """

    key: str
    variable: Var
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """A variable that the forward pass returns beside the output.

    Attributes:
        key: Its key in the dictionary of activations.
        variables: The variables; more than one are stacked.
        order: Permutation of the variable's axes, or None to leave them.
        shape: Shape of the record, without the stacked axis.
        crop: The part of the variable that is recorded, or None for all.
    """

    key: str
    variables: tuple[Var, ...]
    order: tuple[int, ...] | None
    shape: tuple[int, ...]
    crop: Crop | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cotangent:
    """What `derivatives` returns for one stack of uses.

    Attributes:
        key: Its key in the dictionary of cotangents.
        taps: Keys of the taps; more than one are stacked.
        shape: Shape of one tap's cotangent, as the labels of the value count it.
        crop: The part of the tap's cotangent that it is, or None for all.
    """

    key: str
    taps: tuple[str, ...]
    shape: tuple[int, ...]
    crop: Crop | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One leaf's part of the kernel.

    Attributes:
        group: What the leaf belongs to; blocks of one group stand together.
        comments: What stands above it.
        statements: What it computes.
        results: Arrays that are added to the kernel, with their factors.
        shared: Names of arrays that other blocks read too.
        loop: How many steps the block is run for; 1 where it is no loop.
    """

    group: str
    comments: tuple[str, ...]
    statements: tuple[Statement, ...]
    results: tuple[tuple[Array, float], ...]
    shared: frozenset[str] = frozenset()
    loop: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a kernel is computed tile by tile, inside of one call.

    Attributes:
        rows: Examples of `x1` in one tile.
        columns: Examples of `x2` in one tile.
        outputs: Vectors of the output basis in one tile, or None for all at once.
        keeps: Whether activations and cotangents of all examples of `x2` are kept;
            otherwise they are computed again for every tile of rows.
    """

    rows: int
    columns: int
    outputs: int | None = None
    keeps: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Everything that the emitted module says.

    Attributes:
        title: First line of the docstring.
        notes: Further lines of the docstring.
        graph: The model of one example.
        leaf_names: A Python name for every leaf of `params`, in their order.
        spec: The kernel.
        batch_axis: The example axis of every array of `x`, or None.
        data_access: For every array of `x`, Python text after `x`, or None.
        taps: Taps on values, for cotangents.
        shifts: Taps on leaves that are pushed forward.
        records: What the forward pass returns beside the output.
        factors: What it returns that is the same for every example.
        cotangents: What `derivatives` makes of the pulled-back taps.
        blocks: One for every leaf that is not pushed.
        pushed_comments: What stands above the NTK-vector products.
        kernel_labels: Labels of the kernel while it is summed up.
        input_names: Python text for the arrays that the blocks are given.
        precision: Name of the precision of every product, those of the model among
            them, or None for what the platform does by itself.
        sums_dtype: In which dtype contractions add up, where that is another one than
            that of their operands; None where it is the same.
        tiling: How the kernel is computed tile by tile, or None for all at once.
        lower_blocks: In how many blocks of rows the kernel of `x1` with itself is
            computed, each as far as the diagonal; 1 for all at once.
        prelude: Lines with which the kernel function begins, before it looks at its
            arguments: what they compute is among the arrays that the blocks are given.
        tangents: Keys of the taps, all of them on leaves, whose cotangents are made by
            pushing tangents forward instead.
    """

    title: str
    notes: tuple[str, ...]
    graph: KernelGraph
    leaf_names: tuple[str, ...]
    spec: KernelSpec
    batch_axis: int | None
    data_access: tuple[str | None, ...]
    taps: tuple[Tap, ...]
    shifts: tuple[Tap, ...]
    records: tuple[Record, ...]
    factors: tuple[Record, ...]
    cotangents: tuple[Cotangent, ...]
    blocks: tuple[Block, ...]
    pushed_comments: tuple[str, ...]
    kernel_labels: tuple[str, ...]
    input_names: Mapping[str, str]
    precision: str | None
    sums_dtype: str | None = None
    tiling: Tiling | None = None
    lower_blocks: int = 1
    prelude: tuple[str, ...] = ()
    tangents: tuple[str, ...] = ()

    @property
    def tiles_outputs(self) -> bool:
        """Whether the output basis is given to `derivatives`, a part at a time."""
        return self.tiling is not None and self.tiling.outputs is not None
