"""The demo's kernel, computed, used, measured and compared."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ntkplan.demo import model, plain, regression, resident
from ntkplan.demo.digits import Digits
from ntkplan.run.tiles import count_tiles, kernel_in_tiles, progress_bar

RIDGE = 1e-4

# Whole Jacobians need room: a tile of this many images a side takes about 1 GiB.
PLAIN_TILE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the plan says that one tile costs.

    Attributes:
        tile_s: Seconds.
        peak_bytes: Most bytes alive at once, arguments left out.
    """

    tile_s: float
    peak_bytes: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelRun:
    """Both kernels, and what it took to compute them.

    Attributes:
        train: Between the training images, `[n_train, n_train]`.
        test: Between test and training images, `[n_test, n_train]`.
        tiles: How many tiles there were.
        compile_s: Seconds that the compiler took.
        seconds: For all tiles, compilation left out.
        resident_before_bytes: Resident memory when the tiles began; None where the
            operating system does not say.
        resident_peak_bytes: The most that was resident while they ran.
    """

    train: np.ndarray
    test: np.ndarray
    tiles: int
    compile_s: float
    seconds: float
    resident_before_bytes: int | None
    resident_peak_bytes: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainRun:
    """The same kernel by plain Jacobian contraction, on a subset.

    Attributes:
        examples: Images along each side of the one tile that was computed.
        tile_s: Measured seconds for it, compilation left out.
        tiles: How many such tiles make up both kernels.
        difference: Largest difference between this tile and the same part of the
            planned kernel, relative to its largest entry.
    """

    examples: int
    tile_s: float
    tiles: int
    difference: float

    @property
    def extrapolated_s(self) -> float:
        """Seconds for both kernels, had all tiles been computed."""
        return self.tile_s * self.tiles


def run_kernel(
    kernel: jax.stages.Wrapped, params: Any, train: Digits, test: Digits, *, tile: int
) -> KernelRun:
    """Computes both kernels in tiles, with progress bars.

    Args:
        kernel: Jitted, `kernel(params, x1, x2)` of shape `[n1, n2]`.
        params: Its parameters.
        train: Training images.
        test: Test images.
        tile: Images along each side of a tile.
    """
    first_tile = test.images[:tile], train.images[:tile]
    started_s = time.perf_counter()
    compiled = kernel.lower(params, *first_tile).compile()
    compile_s = time.perf_counter() - started_s
    resident.forget_peak()
    resident_before_bytes = resident.peak_resident_bytes()
    in_tiles = functools.partial(kernel_in_tiles, compiled, params, tile1=tile)
    started_s = time.perf_counter()
    with progress_bar("training images with each other ") as progress:
        train_kernel = in_tiles(train.images, progress=progress)
    with progress_bar("test images with training images") as progress:
        test_kernel = in_tiles(test.images, train.images, progress=progress)
    return KernelRun(
        train=train_kernel,
        test=test_kernel,
        tiles=tiles_of_both(len(train), len(test), tile),
        compile_s=compile_s,
        seconds=time.perf_counter() - started_s,
        resident_before_bytes=resident_before_bytes,
        resident_peak_bytes=resident.peak_resident_bytes(),
    )


def run_plain(params: Any, run: KernelRun, train: Digits, test: Digits) -> PlainRun:
    """Times plain Jacobian contraction on the first images, and compares."""
    contract = functools.partial(plain.jacobian_contraction, model.apply, params)
    subset = test.images[:PLAIN_TILE], train.images[:PLAIN_TILE]
    expected = np.asarray(contract(*subset))
    difference = np.abs(run.test[:PLAIN_TILE, :PLAIN_TILE] - expected).max()
    return PlainRun(
        examples=PLAIN_TILE,
        tile_s=min(time_call(contract, *subset) for _ in range(2)),
        tiles=tiles_of_both(len(train), len(test), PLAIN_TILE),
        difference=float(difference / np.abs(expected).max()),
    )


def classify(run: KernelRun, train: Digits, test: Digits) -> float:
    """Returns the fraction of test images that kernel regression gets right."""
    weights = regression.fit(run.train, train.centred_one_hot(), ridge=RIDGE)
    return regression.accuracy(run.test @ weights, test.labels)


def tiles_of_both(n_train: int, n_test: int, tile: int) -> int:
    """Returns how many tiles both kernels have; the first one is symmetric."""
    symmetric = count_tiles(n_train, None, tile1=tile)
    return symmetric + count_tiles(n_test, n_train, tile1=tile)


def time_call(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns the seconds that one call takes until its result is there."""
    started_s = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started_s
