"""Kernels too large for one call: computed tile by tile into a NumPy array."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import rich.console
import rich.progress

from ntkplan.arguments import require_arrays, require_function, whole_number
from ntkplan.errors import InvalidTilesError

Kernel = Callable[[Any, Any, Any], Any]
"""`kernel(params, x1, x2)`: arrays that begin with the axes `[n1, n2]`."""

Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all, first with zero done."""

# Output axes paired wrongly differ by the size of the entries; rounding, in bfloat16 or
# on tensor cores too, by less than this fraction of them.
SYMMETRY_TOLERANCE = 0.05


def kernel_in_tiles(
    kernel: Kernel,
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    tile1: int,
    tile2: int | None = None,
    batch_axis: int = 0,
    output_pairs: Any = None,
    out: Any = None,
    progress: Progress | None = None,
) -> Any:
    """Computes a kernel tile by tile, with one compiled program for all tiles.

    Tile sizes need not divide anything: a tile that sticks out is filled up with
    copies of the last example, and what they give is cut off. Without `x2` only the
    tiles on and below the diagonal are computed; the others are their mirror images,
    and the kernel is symmetric to the last bit.

    Args:
        kernel: Called as `kernel(params, x1_tile, x2_tile)`, as `plan.compile()`
            returns it. Its result is `[n1, n2, ...]`, or a tree of such arrays.
        params: Handed to the kernel as it is.
        x1: Array or pytree of arrays with `n1` examples on `batch_axis`.
        x2: The same with `n2` examples, or None for the kernel of `x1` with itself.
        tile1: Examples of `x1` in one tile.
        tile2: Examples of `x2` in one tile; `tile1` where it is not given. Without
            `x2` it has to equal `tile1`.
        batch_axis: The axis of every array of `x1` and `x2` that counts examples.
        output_pairs: Axes of the result that stand for one output axis of the model,
            seen from `x1` and from `x2`: `[(2, 3)]` for a kernel `[n1, n2, o, o]`,
            `[]` for `[n1, n2]` and for a diagonal `[n1, n2, o]`. They change places
            when a tile is mirrored. Needed without `x2` where the result has more
            axes than two, unless the kernel has an attribute of that name. A tree of
            them where the kernel returns a tree.
        out: The array to write into (a memory map, for instance), or the tree of them;
            new ones of the kernel's type where it is not given.
        progress: Called with the tiles done and the tiles in all.

    Returns:
        The kernel, `[n1, n2, ...]`: `out`, or a new array; or a tree of them.

    Raises:
        ArgumentTypeError: The kernel is no function, or a size no whole number.
        InvalidTilesError: Sizes or shapes do not fit, or the kernel without `x2` is
            not symmetric under `output_pairs`.

    Example:
        >>> x = np.arange(5.0)[:, None]
        >>> theta = kernel_in_tiles(lambda p, a, b: a @ b.T, None, x, tile1=2)
        >>> bool((theta == x @ x.T).all())
        True
    """
    require_function(
        "kernel",
        kernel,
        "a function kernel(params, x1, x2)",
        "Of a plan, pass plan.compile()",
    )
    tile1 = whole_number("tile1", tile1)
    tile2 = None if tile2 is None else whole_number("tile2", tile2)
    batch_axis = whole_number("batch_axis", batch_axis)
    for name, x in (("x1", x1), ("x2", x2)):
        require_arrays(name, x, examples=True)
    _refuse_whole_batch(kernel)
    grid = _grid(x1, x2, tile1, tile2, batch_axis)
    blocks = grid.blocks()
    report = progress or _silent
    report(0, len(blocks))

    def compute(start1: int, start2: int) -> Any:
        tile_of_x1 = _take_tile(x1, start1, grid.tile1, batch_axis)
        tile_of_x2 = _take_tile(
            x1 if grid.symmetric else x2, start2, grid.tile2, batch_axis
        )
        return jax.tree.map(np.asarray, kernel(params, tile_of_x1, tile_of_x2))

    first = compute(*blocks[0])
    if output_pairs is None:
        output_pairs = getattr(kernel, "output_pairs", None)
    results = _results(grid, first, output_pairs, out)
    for done, (start1, start2) in enumerate(blocks, start=1):
        tile = first if done == 1 else compute(start1, start2)
        for result, block in zip(results, jax.tree.leaves(tile), strict=True):
            result.write(grid, start1, start2, block)
        report(done, len(blocks))
    return jax.tree.structure(first).unflatten([result.array for result in results])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Grid:
    """Tiles of a kernel.

    Attributes:
        n1: Examples in `x1`.
        n2: Examples in `x2`.
        tile1: Examples of `x1` in one tile.
        tile2: Examples of `x2` in one tile.
        symmetric: Whether tiles above the diagonal mirror those below.
    """

    n1: int
    n2: int
    tile1: int
    tile2: int
    symmetric: bool

    def blocks(self) -> list[tuple[int, int]]:
        """Returns where every tile that is computed begins."""
        return [
            (start1, start2)
            for start1 in range(0, self.n1, self.tile1)
            for start2 in range(0, self.n2, self.tile2)
            if not self.symmetric or start2 <= start1
        ]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Result:
    """A kernel that is put together.

    Attributes:
        array: The kernel.
        swap: The order of axes that mirrors a tile at the diagonal.
    """

    array: np.ndarray
    swap: tuple[int, ...]

    def write(self, grid: _Grid, start1: int, start2: int, block: np.ndarray) -> None:
        """Writes a tile, cut to what there is, and its mirror image."""
        rows = slice(start1, min(start1 + grid.tile1, grid.n1))
        columns = slice(start2, min(start2 + grid.tile2, grid.n2))
        block = block[: rows.stop - start1, : columns.stop - start2]
        if grid.symmetric and start1 == start2:
            block = _symmetrised(block, self.swap)
        elif grid.symmetric:
            self.array[columns, rows] = block.transpose(self.swap)
        self.array[rows, columns] = block


@contextlib.contextmanager
def progress_bar(
    description: str, console: rich.console.Console | None = None
) -> Iterator[Progress]:
    """Shows a progress bar while a kernel is computed in tiles.

    Args:
        description: What stands before the bar.
        console: Where to show it; standard output where it is not given.

    Yields:
        What to hand to `kernel_in_tiles` as `progress`.
    """
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("tiles"),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console or rich.console.Console(),
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def count_tiles(
    n1: int, n2: int | None, *, tile1: int, tile2: int | None = None
) -> int:
    """Returns how many tiles `kernel_in_tiles` computes.

    Args:
        n1: Examples in `x1`.
        n2: Examples in `x2`, or None for the kernel of `x1` with itself.
        tile1: Examples of `x1` in one tile.
        tile2: Examples of `x2` in one tile; `tile1` where it is not given.

    Example:
        >>> count_tiles(1000, None, tile1=200), count_tiles(797, 1000, tile1=200)
        (15, 20)
    """
    rows = -(-n1 // tile1)
    if n2 is None:
        return rows * (rows + 1) // 2
    return rows * -(-n2 // (tile2 or tile1))


def _silent(done: int, total: int) -> None:
    """Shows nothing."""


def _refuse_whole_batch(kernel: Kernel) -> None:
    """Refuses a kernel whose plan says that examples interact."""
    plan = getattr(kernel, "plan", None)
    signature = getattr(plan, "signature", None)
    if signature is not None and signature.batch_axis is None:
        raise InvalidTilesError(
            what="a kernel planned with batch_axis=None is of a whole batch, whose "
            "examples interact: it has no tiles.",
            remedy="Call it with the whole batch, or plan with batch_axis=0 where "
            "examples are independent.",
        )


def _grid(x1: Any, x2: Any, tile1: int, tile2: int | None, batch_axis: int) -> _Grid:
    """Checks the tile sizes; no tile need be larger than what there is."""
    symmetric = x2 is None
    n1 = _count_examples(x1, "x1", batch_axis)
    n2 = n1 if symmetric else _count_examples(x2, "x2", batch_axis)
    tile2 = tile1 if tile2 is None else tile2
    if min(tile1, tile2) < 1:
        raise InvalidTilesError(
            what=f"tiles of {tile1} x {tile2} examples hold nothing.",
            remedy="Give tile1 and tile2 of at least 1.",
        )
    if symmetric and tile1 != tile2:
        raise InvalidTilesError(
            what=f"without x2 the tiles have to be square, not {tile1} x {tile2}: "
            "the tiles above the diagonal are mirror images of those below.",
            remedy="Leave tile2 out, or give x1 again as x2.",
        )
    return _Grid(
        n1=n1,
        n2=n2,
        tile1=min(tile1, n1),
        tile2=min(tile2, n2),
        symmetric=symmetric,
    )


def _for_each(structure: Any, given: Any, name: str) -> list[Any]:
    """Returns what was given for every array of the kernel, None for nothing."""
    if given is None:
        return [None] * structure.num_leaves
    try:
        return structure.flatten_up_to(given)
    except ValueError:
        raise InvalidTilesError(
            what=f"{name} is no tree like the kernel's result, {structure}.",
            remedy=f"Give {name} as a tree of the same structure.",
        ) from None


def _results(grid: _Grid, first: Any, output_pairs: Any, out: Any) -> list[_Result]:
    """Makes room for all kernels, of which the first tiles are known."""
    structure = jax.tree.structure(first)
    return [
        _result(grid, *item)
        for item in zip(
            jax.tree.leaves(first),
            _for_each(structure, output_pairs, "output_pairs"),
            _for_each(structure, out, "out"),
            strict=True,
        )
    ]


def _result(
    grid: _Grid,
    block: np.ndarray,
    output_pairs: Sequence[tuple[int, int]] | None,
    out: np.ndarray | None,
) -> _Result:
    """Makes room for a kernel, of which one tile is known."""
    return _Result(
        swap=_mirror_axes(block, output_pairs, grid),
        array=_result_array(out, (grid.n1, grid.n2, *block.shape[2:]), block.dtype),
    )


def _count_examples(x: Any, name: str, batch_axis: int) -> int:
    """Returns the one number of examples that all arrays of `x` agree on."""
    found: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(x):
        where = name + jax.tree_util.keystr(path)
        shape = np.shape(leaf)
        if not -len(shape) <= batch_axis < len(shape):
            raise InvalidTilesError(
                what=f"{where} of shape {list(shape)} has no axis {batch_axis} that "
                "could count examples.",
                remedy="Give arrays with an example axis, or the right batch_axis.",
            )
        found.setdefault(shape[batch_axis], where)
    if not found or 0 in found:
        raise InvalidTilesError(
            what=f"{found.get(0, name)} holds no example.",
            remedy="Give at least one example.",
        )
    if len(found) > 1:
        counts = ", ".join(f"{where}: {count}" for count, where in found.items())
        raise InvalidTilesError(
            what=f"the arrays of {name} disagree on how many examples: {counts}.",
            remedy=f"Give arrays that agree on axis {batch_axis}.",
        )
    return next(iter(found))


def _take_tile(x: Any, start: int, size: int, batch_axis: int) -> Any:
    """Takes `size` examples from `start` on; past the end the last one is repeated."""

    def take(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        count = array.shape[batch_axis]
        indices = np.minimum(np.arange(start, start + size), count - 1)
        return np.take(array, indices, axis=batch_axis)

    return jax.tree.map(take, x)


def _mirror_axes(
    block: np.ndarray,
    output_pairs: Sequence[tuple[int, int]] | None,
    grid: _Grid,
) -> tuple[int, ...]:
    """Returns the permutation of axes that mirrors a tile at the diagonal."""
    if block.shape[:2] != (grid.tile1, grid.tile2):
        raise InvalidTilesError(
            what=f"a tile of {grid.tile1} x {grid.tile2} examples came out with shape "
            f"{list(block.shape)}.",
            remedy="Give a kernel whose result begins with the axes [n1, n2]; one of "
            "matched pairs [n, ...] has no tiles.",
        )
    if grid.symmetric and output_pairs is None and block.ndim > 2:
        raise InvalidTilesError(
            what=f"without x2, tiles of shape {list(block.shape)} are mirrored, and "
            "nothing says which output axes change places.",
            remedy="Give output_pairs=[(2, 3)] for a kernel [n1, n2, o, o], "
            "output_pairs=[] for a diagonal [n1, n2, o].",
        )
    pairs = [tuple(pair) for pair in output_pairs or ()]
    paired = [axis for pair in pairs for axis in pair]
    known = len(set(paired)) == len(paired) and set(paired) <= set(range(2, block.ndim))
    if not known or any(block.shape[i] != block.shape[j] for i, j in pairs):
        raise InvalidTilesError(
            what=f"output_pairs {pairs} do not fit a tile of {list(block.shape)}.",
            remedy="Name pairs of equal axes from 2 on, every axis once at most.",
        )
    axes = list(range(block.ndim))
    for first, second in [(0, 1), *pairs]:
        axes[first], axes[second] = second, first
    return tuple(axes)


def _result_array(
    out: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Returns `out`, checked, or a new array."""
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or not np.can_cast(dtype, out.dtype, "safe"):
        raise InvalidTilesError(
            what=f"out is {out.dtype}{list(out.shape)}, "
            f"the kernel {dtype}{list(shape)}.",
            remedy="Give out of that shape and of a type that holds those values.",
        )
    return out


def _symmetrised(block: np.ndarray, swap: tuple[int, ...]) -> np.ndarray:
    """Averages a diagonal tile with its mirror image, which it is but for rounding."""
    mirrored = block.transpose(swap)
    largest = np.max(np.abs(block), initial=0.0)
    difference = np.max(np.abs(block - mirrored), initial=0.0)
    if difference > SYMMETRY_TOLERANCE * largest:
        raise InvalidTilesError(
            what=f"a tile on the diagonal differs from its mirror image by "
            f"{difference:.3g}, with entries up to {largest:.3g}.",
            remedy="Check output_pairs; for a kernel that is not symmetric give x1 "
            "again as x2.",
        )
    return (0.5 * block + 0.5 * mirrored).astype(block.dtype)
