"""A program: everything that an emitted module says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ntkplan._jax import SourceLocation, Var
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.statements import Array, Statement
from ntkplan.ir.use import Crop


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part of the model that is like others, so that they share functions.

    Attributes:
        key: Its key in the dictionaries of taps, activations and cotangents.
        path: The subtree of `params` whose leaves it reads, as `blocks/0`.
        access: Python text that reads the subtree from `params`.
        function: How its function is to be called.
        alike: Paths of all parts that are like it, this one included.
        variables: Its leaves, and the values that it computes.
        given: Other values that it reads, in the order in which it does.
        returned: Those of its values that are read elsewhere by the model.
        calls: The user's calls around it, outermost first, as far as they are known.
    """

    key: str
    path: str
    access: str
    function: str
    alike: tuple[str, ...]
    variables: frozenset[Var]
    given: tuple[Var, ...]
    returned: tuple[Var, ...]
    calls: tuple[SourceLocation, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tap:
    """A variable of the model to which something is added, so as to differentiate.

    Attributes:
        key: Its key in the dictionary of taps.
        part: Key of the part that it lies in, whose dictionary of taps is meant; empty
            where it lies in none.
        variable: The variable.
        shape: The variable's shape without axes of length one.
        dtype: The variable's dtype.
    """

    key: str
    part: str = ""
    variable: Var
    shape: tuple[int, ...]
    dtype: str

    @property
    def place(self) -> tuple[str, str]:
        """Its part and its key."""
        return self.part, self.key


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """A variable that the forward pass returns beside the output.

    Attributes:
        key: Its key in the dictionary of activations.
        part: Key of the part that records it, or empty.
        variables: The variables; more than one are stacked.
        order: Permutation of the variable's axes, or None to leave them.
        shape: Shape of the record, without the stacked axis.
        crop: The part of the variable that is recorded, or None for all.
    """

    key: str
    part: str = ""
    variables: tuple[Var, ...]
    order: tuple[int, ...] | None
    shape: tuple[int, ...]
    crop: Crop | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cotangent:
    """What `derivatives` returns for one stack of uses.

    Attributes:
        key: Its key in the dictionary of cotangents.
        part: Key of the part whose taps it is of, or empty.
        taps: Parts and keys of the taps; more than one are stacked.
        shape: Shape of one tap's cotangent, as the labels of the value count it.
        crop: The part of the tap's cotangent that it is, or None for all.
    """

    key: str
    part: str = ""
    taps: tuple[tuple[str, str], ...]
    shape: tuple[int, ...]
    crop: Crop | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One leaf's part of the kernel, with that of its bias where they are one.

    Attributes:
        group: What the leaf belongs to; blocks of one group stand together.
        part: Key of the part of the model whose arrays alone it reads, or empty.
        comments: What stands above it.
        record: What was chosen for the leaf, where that is to stand above it.
        bias: The same of a leaf that is computed with it.
        statements: What it computes.
        results: Arrays that are added to the kernel, with their factors.
        shared: Names of arrays that other blocks read too.
        loop: How many steps the block is run for; 1 where it is no loop.
    """

    group: str
    part: str = ""
    comments: tuple[str, ...]
    record: LayerPlan | None = None
    bias: LayerPlan | None = None
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
        mirrors: Whether tiles above the diagonal are mirror images of those below,
            where `x2` is absent.
    """

    rows: int
    columns: int
    outputs: int | None = None
    keeps: bool = True
    mirrors: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Everything that the emitted module says.

    Attributes:
        title: First line of the docstring.
        notes: Further lines of the docstring.
        graph: The model of one example.
        parts: What in it is alike, in the order in which it runs.
        leaf_names: A Python name for every leaf of `params`, in their order.
        spec: The kernel.
        batch_axis: The example axis of every array of `x`, or None.
        data_access: For every array of `x`, Python text after `x`, or None.
        taps: Taps on values, for cotangents.
        shifts: Taps on leaves that are pushed forward.
        records: What the forward pass returns beside the output.
        factors: What it returns that is the same for every example.
        cotangents: What `derivatives` makes of the pulled-back taps.
        blocks: One for every leaf that is not pushed, the last layers first.
        pushed_comments: What stands above the NTK-vector products.
        kernel_labels: Labels of the kernel while it is summed up.
        input_names: Python text for the arrays that the blocks are given.
        part_names: The same for each part, as its own functions are given them.
        precision: Name of the precision of every product, those of the model among
            them, or None for what the platform does by itself.
        dtype: Data type of the kernel.
        sums_dtype: In which dtype contractions add up, where that is another one than
            that of their operands; None where it is the same.
        tiling: How the kernel is computed tile by tile, or None for all at once.
        lower_blocks: In how many blocks of rows the kernel of `x1` with itself is
            computed, each as far as the diagonal; 1 for all at once.
        prelude: Lines with which the kernel function begins, before it looks at its
            arguments: what they compute is among the arrays that the blocks are given.
        tangents: Parts and keys of the taps, all of them on leaves, whose cotangents
            are made by pushing tangents forward instead.
        turns_kernels: Whether convolutions are printed so that in loops, too, CPU
            compilers give their derivatives to a library.
        orders_axes: Whether compilers are told to keep the axes of cotangents in memory
            in their order.
        ordered: Variables whose cotangents are so from where the sweep makes them.
        joins_sides: Whether one sweep is for the examples of both sides.
    """

    title: str
    notes: tuple[str, ...]
    graph: KernelGraph
    parts: tuple[Part, ...]
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
    part_names: Mapping[str, Mapping[str, str]]
    precision: str | None
    dtype: str
    sums_dtype: str | None = None
    tiling: Tiling | None = None
    lower_blocks: int = 1
    prelude: tuple[str, ...] = ()
    tangents: tuple[tuple[str, str], ...] = ()
    turns_kernels: bool = False
    orders_axes: bool = False
    ordered: frozenset[Var] = frozenset()
    joins_sides: bool = False

    @property
    def paths_as_swept(self) -> dict[str, str]:
        """Paths of the parts by their keys, in the order in which blocks stand."""
        return {part.key: part.path for part in reversed(self.parts)}

    @property
    def mirrors_tiles(self) -> bool:
        """Whether tiles above the diagonal are mirror images, where `x2` is absent."""
        return self.tiling is not None and self.tiling.mirrors and bool(self.blocks)

    @property
    def tiles_outputs(self) -> bool:
        """Whether the output basis is given to `derivatives`, a part at a time."""
        return self.tiling is not None and self.tiling.outputs is not None
