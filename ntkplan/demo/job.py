"""`ntkplan demo`: plan, write, import, run and use a kernel on handwritten digits."""

from __future__ import annotations

import dataclasses
import pathlib
import warnings

import jax
import numpy as np

import ntkplan.api
from ntkplan.demo import generated_file, measure, model
from ntkplan.demo.digits import load_digits
from ntkplan.errors import MiscompiledSumsWarning

FILE_NAME = "ntk_digits.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """How much the demo computes.

    Attributes:
        n_train: Training images.
        n_test: Test images.
        tile: Images along each side of a tile.
    """

    n_train: int
    n_test: int
    tile: int


FULL = Size(n_train=1000, n_test=797, tile=200)
QUICK = Size(n_train=500, n_test=500, tile=125)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the demo found; `report` prints it.

    Attributes:
        accuracy: Fraction of the test images that were classified right.
        estimate: What the plan says of one tile.
        kernel: Both kernels as the generated file computes them.
        plain: Plain Jacobian contraction on a subset.
    """

    accuracy: float
    estimate: measure.Estimate
    kernel: measure.KernelRun
    plain: measure.PlainRun


def run(folder: pathlib.Path, *, quick: bool = False) -> Outcome:
    """Runs the demo and prints what it does.

    Args:
        folder: Where `ntk_digits.py` is written.
        quick: Compute on fewer images.

    Returns:
        What was found.

    Raises:
        UnwritableFileError: The file cannot be written; found before any work.
    """
    path = folder / FILE_NAME
    generated_file.check_writable(path)
    size = QUICK if quick else FULL
    train, test = load_digits(size.n_train, size.n_test)
    params = model.init_params()
    print(
        f"UCI handwritten digits: {len(train)} training and {len(test)} test images.\n"
        f"The plan for tiles of {size.tile} x {size.tile} images:\n"
    )
    tile = jax.ShapeDtypeStruct((size.tile, *train.images.shape[1:]), np.float32)
    plan = ntkplan.api.plan(model.apply, params, tile, tile, kernel="trace")
    print(plan)
    with warnings.catch_warnings():
        # The file's kernel is compared with plain JAX's below, whoever compiles it.
        warnings.simplefilter("ignore", MiscompiledSumsWarning)
        plan.save(path)
    kernel = generated_file.import_kernel(path)
    print(f"\nWrote {path} and imported it; its kernel now runs.\n")
    kernel_run = measure.run_kernel(kernel, params, train, test, tile=size.tile)
    outcome = Outcome(
        accuracy=measure.classify(kernel_run, train, test),
        estimate=measure.Estimate(
            tile_s=float(plan.cost.seconds), peak_bytes=float(plan.cost.peak_bytes)
        ),
        kernel=kernel_run,
        plain=measure.run_plain(params, kernel_run, train, test),
    )
    print(report(outcome))
    return outcome


def report(outcome: Outcome) -> str:
    """Returns the closing lines: accuracy, then measurements beside estimates."""
    kernel, plain, estimate = outcome.kernel, outcome.plain, outcome.estimate
    n_train, n_test = len(kernel.train), len(kernel.test)
    estimate_s = estimate.tile_s * kernel.tiles
    faster = plain.extrapolated_s / kernel.seconds
    return "\n".join(
        [
            "",
            f"Test accuracy   {outcome.accuracy:.1%}: kernel regression on {n_train} "
            f"training images, {n_test} test images",
            f"Time            {kernel.seconds:.2f} s for {kernel.tiles} tiles; "
            f"estimated {estimate_s:.2f} s "
            f"(and {kernel.compile_s:.1f} s to compile)",
            f"Memory          {memory(kernel)}; estimated {mib(estimate.peak_bytes)} "
            "for the kernel of one tile",
            f"Plain JAX       {plain.extrapolated_s:.0f} s, extrapolated from "
            f"{plain.tile_s:.2f} s for one tile of {plain.examples} x {plain.examples} "
            f"by Jacobian contraction, of which there would be {plain.tiles}: "
            f"{faster:.0f} times as long",
            f"Agreement       the two kernels differ by {plain.difference:.1e} of the "
            "largest entry on that tile",
        ]
    )


def memory(kernel: measure.KernelRun) -> str:
    """Returns the measured memory in words."""
    if kernel.resident_peak_bytes is None or kernel.resident_before_bytes is None:
        return "not measured on this operating system"
    grown = kernel.resident_peak_bytes - kernel.resident_before_bytes
    return (
        f"{mib(kernel.resident_peak_bytes)} resident at most, {mib(grown)} more than "
        "before the tiles"
    )


def mib(size_bytes: float) -> str:
    """Returns a size in MiB, in words."""
    return f"{size_bytes / 2**20:.0f} MiB"
