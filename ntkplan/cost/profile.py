"""Records of a device profile: what a device is and how fast it runs what."""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
from pathlib import Path
from typing import Any

from ntkplan.cost.profile_text import profile_text
from ntkplan.cost.work import OperationKind, Variant


class Origin(enum.StrEnum):
    """Where the figures of a profile come from."""

    MEASURED = "measured"
    COMPILER_ESTIMATE = "compiler_estimate"
    DATASHEET = "datasheet"


class Platform(enum.StrEnum):
    """JAX's names for the families of devices."""

    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where, when and how well the figures were come by.

    Attributes:
        origin: Measured, a compiler's estimate, or a datasheet.
        date: ISO date.
        sources: Titles and addresses of datasheets, or the program that measured.
        jax_version: Version of jax, empty where none was involved.
        jaxlib_version: Version of jaxlib, empty where none was involved.
        plugin_versions: Versions of plugins, as `name==version`.
        flags: XLA_FLAGS and the like, as they were set.
        threads: Threads that the device's compiler ran, 0 where that has no meaning.
        noise_median_fraction: Median, over programs, of (median - minimum) / minimum
            of the rounds; 0 where nothing was measured.
        noise_p90_fraction: The same, 90th percentile.
        notes: What a reader should know about the figures.
    """

    origin: Origin
    date: str
    sources: tuple[str, ...]
    jax_version: str = ""
    jaxlib_version: str = ""
    plugin_versions: tuple[str, ...] = ()
    flags: str = ""
    threads: int = 0
    noise_median_fraction: float = 0.0
    noise_p90_fraction: float = 0.0
    notes: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """How much memory there is.

    Attributes:
        capacity_bytes: All of it.
        usable_bytes: What a program can have of it.
        scratch_margin_fraction: Part of what is usable that is kept free for what a
            compiler allocates beyond what can be foreseen.
        fresh_buffer_bytes: Allocations of at least this size get pages that nobody
            has touched, and writing to them costs a page fault each; smaller ones are
            reused. 0 where fresh memory is as fast as any.
        packed_columns: Columns of the right operand of a product that libraries copy
            at a time, of every product of a batch, outside of what the compiler
            allocates. 0 where they copy no operands, neither of products nor of
            convolutions.
        cache_bytes: Operations that touch much less than this run at the speed of the
            caches, those that touch much more at that of memory. 0 where the two are
            not told apart.
    """

    capacity_bytes: int
    usable_bytes: int
    scratch_margin_fraction: float
    fresh_buffer_bytes: int = 0
    packed_columns: int = 0
    cache_bytes: int = 0

    @property
    def copies_operands(self) -> bool:
        """Whether libraries copy operands outside of what the compiler allocates."""
        return self.packed_columns > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """What it costs to start things.

    Attributes:
        call_overhead_s: One call of a compiled program.
        loop_overhead_s: One iteration of `lax.scan` or `lax.map`, its body apart.
        loop_operation_s: One small operation in the body of a loop; 0 where it costs as
            much as anywhere else.
        loop_small_s: Operations in the body of a loop that take less than this on one
            core are small ones.
    """

    call_overhead_s: float
    loop_overhead_s: float
    loop_operation_s: float = 0.0
    loop_small_s: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """How well the rates of one class explain the samples they were fitted to.

    Attributes:
        median_error_fraction: Median of |predicted - measured| / measured.
        held_out_median_error_fraction: The same, on samples left out of the fit.
        held_out_p90_error_fraction: 90th percentile of these.
        samples: One row per program, in the order of `SAMPLE_COLUMNS`.
        correction_reach: How far a sample's own error is felt, in natural logarithms
            of sizes; 0 where samples correct nothing.
        correction_noise: Variance of one sample's noise, in parts of the variance of
            what the rates leave unexplained.
    """

    median_error_fraction: float
    held_out_median_error_fraction: float
    held_out_p90_error_fraction: float
    samples: tuple[tuple[float, ...], ...]
    correction_reach: float = 0.0
    correction_noise: float = 0.0


SAMPLE_COLUMNS: tuple[str, ...] = (
    "batch",
    "m",
    "n",
    "k",
    "flops",
    "transcendentals",
    "bytes_read",
    "bytes_written_fresh",
    "bytes_written_reused",
    "repeats",
    "seconds",
)
"""What the columns of `Fit.samples` hold; `seconds` is the least over the rounds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast one class of operations runs in one data type at one precision.

    Attributes:
        kind: The class.
        dtype: NumPy's name of the data type.
        precision: `default`, `high` or `highest`, as `jax.lax.Precision`.
        variant: The way of running the class, where it has rates of its own.
        peak_flops_per_s: Additions and multiplications in a large operation.
        half_efficiency_m: The `m` at which half the peak is reached, the other sizes
            being large; 0 where `m` does not matter. It does not for `m` = 1 either: a
            product with a vector runs as fast as its matrix can be read.
        half_efficiency_n: The same for `n`.
        half_efficiency_k: The same for `k`.
        read_bytes_per_s: Reading memory.
        write_bytes_per_s: Writing memory that was in use before.
        fresh_write_bytes_per_s: Writing memory that was never touched.
        transcendentals_per_s: Evaluations of exp, tanh and the like.
        overhead_s: One launch.
        batch_overhead_s: Each product of a batch of products of many rows, beside its
            arithmetic; 0 where a batch is as fast as one product.
        batch_half_m: The `m` at which a product takes half of that.
        entrywise_flops_per_s: Additions and multiplications where a batched product is
            computed as a product and a sum of arrays; 0 where it never is.
        entrywise_lanes: Products of a batch that this computes at a time.
        far_stride_bytes: Reductions whose terms lie this far apart, or farther, read
            at `far_read_bytes_per_s`; 0 where distance does not matter.
        far_read_bytes_per_s: Reading with such strides.
        cache_speedup: How many times faster the caches are read and written than
            memory is.
        parallel_overhead_s: Splitting one operation among the cores of a CPU; an
            operation that is not worth it runs on one. 0 where splitting is free.
        fit: How the rates were fitted, where they were.
    """

    kind: OperationKind
    dtype: str
    precision: str
    peak_flops_per_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float
    fresh_write_bytes_per_s: float
    transcendentals_per_s: float
    overhead_s: float
    variant: Variant = Variant.PLAIN
    half_efficiency_m: float = 0.0
    half_efficiency_n: float = 0.0
    half_efficiency_k: float = 0.0
    batch_overhead_s: float = 0.0
    batch_half_m: float = 0.0
    entrywise_flops_per_s: float = 0.0
    entrywise_lanes: int = 1
    far_stride_bytes: int = 0
    far_read_bytes_per_s: float = 0.0
    cache_speedup: float = 1.0
    parallel_overhead_s: float = 0.0
    fit: Fit | None = None

    @property
    def key(self) -> tuple[OperationKind, str, str, Variant]:
        """What tells it from the other rates of a profile."""
        return self.kind, self.dtype, self.precision, self.variant


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """One device, as the cost model sees it.

    Attributes:
        name: What a user calls it.
        platform: JAX's platform.
        device_kind: JAX's `device_kind`.
        cores: Cores of a CPU, multiprocessors of a GPU, tensor cores of a TPU chip.
        architecture: Of a CPU, as `x86_64`; empty elsewhere.
        processor: Name of a CPU, which `device_kind` does not tell; empty elsewhere.
        provenance: Where the figures come from.
        memory: How much there is.
        launch: What starting costs.
        rates: One entry per class, data type and precision.
    """

    name: str
    platform: Platform
    device_kind: str
    cores: int
    provenance: Provenance
    memory: Memory
    launch: Launch
    rates: tuple[Rate, ...]
    architecture: str = ""
    processor: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile's file, and the folders above it.

        `ntkplan.plan(..., device=path)` reads it again.

        Args:
            path: The file; its name ends in `.toml`.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(profile_text(self), encoding="utf-8")

    @property
    def fuses_products(self) -> bool:
        """Whether products need no memory beside operands and results.

        XLA for TPUs gives every array the order of axes that its readers want, where
        libraries of products need a transposed copy; and it adds a product to the
        kernel while it makes it, in place.
        """
        return self.platform is Platform.TPU

    def rate(
        self,
        kind: OperationKind,
        dtype: str,
        precision: str | None,
        variant: Variant = Variant.PLAIN,
    ) -> Rate:
        """Returns the rates of a class, by rule where the profile has none.

        A variant that is missing runs as the plain one. A class that is missing runs as
        the class it is most like (a batched dot as a dot, a kernel gradient as a
        convolution, movement as elementwise work). A precision that is missing runs as
        the next more exact one, or else the most exact there is. A data type that is
        missing runs as float32 does: its arithmetic slower in proportion where it is
        wider, never faster where it is narrower, and its bytes at the same speed.

        Args:
            kind: The class.
            dtype: NumPy's name of the data type.
            precision: As `jax.lax.Precision`, in lower case; None is `default`.
            variant: The way of running it.

        Returns:
            Rates, none of them zero.
        """
        wanted = (precision or "default").lower()
        found = self._table.get((kind, dtype, wanted, variant))
        if found is None:
            found = self._by_rule(kind, dtype, wanted, variant)
            # A cache of what the frozen fields determine, no state of its own.
            self._table[kind, dtype, wanted, variant] = found
        return found

    @functools.cached_property
    def remembered(self) -> dict[Any, float]:
        """Times already predicted on this device, by `ntkplan.cost.formulas`."""
        return {}

    @functools.cached_property
    def corrections(self) -> dict[Any, Any]:
        """Corrections already made of its samples, by `ntkplan.cost.formulas`."""
        return {}

    @functools.cached_property
    def _table(self) -> dict[tuple[OperationKind, str, str, Variant], Rate]:
        return {rate.key: rate for rate in self.rates}

    def _by_rule(
        self, kind: OperationKind, dtype: str, precision: str, variant: Variant
    ) -> Rate:
        for like in (kind, *_LIKE.get(kind, ())):
            for exactness in _as_exact(precision):
                for way in dict.fromkeys((variant, Variant.PLAIN)):
                    found = self._table.get((like, dtype, exactness, way))
                    if found is not None:
                        return found
        if dtype == "float32":
            raise KeyError(kind)
        slower = max(1.0, ITEM_BYTES.get(dtype, 8) / 4)
        alike = self.rate(kind, "float32", precision, variant)
        return dataclasses.replace(
            alike,
            dtype=dtype,
            peak_flops_per_s=alike.peak_flops_per_s / slower,
            transcendentals_per_s=alike.transcendentals_per_s / slower,
            fit=None,
        )


PRECISIONS: tuple[str, ...] = ("default", "high", "highest")
"""From the fastest to the most exact."""

REQUIRED_KINDS: tuple[OperationKind, ...] = (
    OperationKind.DOT,
    OperationKind.ELEMENTWISE,
)
"""Classes that every profile has in float32: the fallbacks of all others."""

_LIKE: dict[OperationKind, tuple[OperationKind, ...]] = {
    OperationKind.BATCHED_DOT: (OperationKind.DOT,),
    OperationKind.CONVOLUTION: (OperationKind.DOT,),
    OperationKind.CONVOLUTION_KERNEL_GRADIENT: (
        OperationKind.CONVOLUTION,
        OperationKind.DOT,
    ),
    OperationKind.REDUCTION_MINOR: (OperationKind.ELEMENTWISE,),
    OperationKind.REDUCTION_MAJOR: (
        OperationKind.REDUCTION_MINOR,
        OperationKind.ELEMENTWISE,
    ),
    OperationKind.TRANSPOSE: (OperationKind.ELEMENTWISE,),
    OperationKind.GATHER: (OperationKind.TRANSPOSE, OperationKind.ELEMENTWISE),
    OperationKind.LOOP: (OperationKind.ELEMENTWISE,),
}

ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "bfloat16": 2,
    "float16": 2,
    "int16": 2,
    "uint16": 2,
    "float32": 4,
    "int32": 4,
    "uint32": 4,
    "float64": 8,
    "int64": 8,
    "uint64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes of one number, by NumPy's name of its type."""


def _as_exact(precision: str) -> tuple[str, ...]:
    """Returns the precisions to look for, in order; an unknown one is `highest`."""
    known = precision if precision in PRECISIONS else "highest"
    start = PRECISIONS.index(known)
    return (*PRECISIONS[start:], *reversed(PRECISIONS[:start]))
