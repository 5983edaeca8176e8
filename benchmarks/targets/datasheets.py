"""Device profiles as datasheets give them, before anything is fitted.

What a datasheet does not tell is assumed, and `provenance.notes` says which and how.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from ntkplan.cost.profile import (
    DeviceProfile,
    Launch,
    Memory,
    Origin,
    Platform,
    Provenance,
    Rate,
)
from ntkplan.cost.work import OperationKind

_MATRIX_KINDS = {
    OperationKind.DOT: 1.0,
    OperationKind.BATCHED_DOT: 0.5,
    OperationKind.CONVOLUTION: 1.0,
    OperationKind.CONVOLUTION_KERNEL_GRADIENT: 0.5,
}
"""Classes of products, and the part of the peak that they are assumed to reach."""

_ENTRYWISE_FRACTION = 0.04785
"""Part of the vector units' peak that a product of arrays and its sum reach."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Datasheet:
    """What is known of a device, and what is assumed.

    Attributes:
        name: Name of the profile.
        platform: JAX's platform.
        device_kind: JAX's name of the device.
        cores: As in the profile.
        source: Title and address.
        notes: What is the datasheet's and what is assumed.
        capacity_bytes: Memory.
        usable_fraction: The part of it that a program can have.
        bytes_per_s: Bandwidth of memory.
        products: Flops per second of products, by data type and precision.
        vector_flops_per_s: Flops per second of all else, by data type.
        transcendentals_per_s: Evaluations per second.
        halves: Half-efficiency sizes, m, n and k.
        transpose_fraction: Part of the bandwidth that transposes reach.
        gather_fraction: Part of the bandwidth that gathers reach.
        loop_overhead_s: One iteration of a loop.
        overhead_s: One launch.
    """

    name: str
    platform: Platform
    device_kind: str
    cores: int
    source: str
    notes: str
    capacity_bytes: int
    usable_fraction: float
    bytes_per_s: float
    products: Mapping[tuple[str, str], float]
    vector_flops_per_s: Mapping[str, float]
    transcendentals_per_s: float
    halves: tuple[float, float, float]
    transpose_fraction: float
    gather_fraction: float
    loop_overhead_s: float
    overhead_s: float

    def profile(self, date: str) -> DeviceProfile:
        """Returns the profile that follows from it."""
        return DeviceProfile(
            name=self.name,
            platform=self.platform,
            device_kind=self.device_kind,
            cores=self.cores,
            provenance=Provenance(
                origin=Origin.DATASHEET,
                date=date,
                sources=(self.source,),
                notes=self.notes,
            ),
            memory=Memory(
                capacity_bytes=self.capacity_bytes,
                usable_bytes=round(self.capacity_bytes * self.usable_fraction),
                scratch_margin_fraction=0.1,
            ),
            launch=Launch(call_overhead_s=2e-5, loop_overhead_s=self.loop_overhead_s),
            rates=(*self._product_rates(), *self._vector_rates()),
        )

    def _product_rates(self) -> Iterator[Rate]:
        for (dtype, precision), peak in self.products.items():
            for kind, part in _MATRIX_KINDS.items():
                m, n, k = self.halves
                rate = self._rate(kind, dtype, precision, peak * part, 1.0)
                if kind is OperationKind.BATCHED_DOT:
                    rate = dataclasses.replace(rate, **self._tiny_products())
                yield dataclasses.replace(
                    rate,
                    half_efficiency_m=m,
                    half_efficiency_n=n,
                    half_efficiency_k=k,
                )

    def _tiny_products(self) -> dict[str, float]:
        """Returns what a TPU takes for tiny products; `benchmarks.targets.tiny` has it.

        Read off the compiler's estimates for a TPU v5e, and carried over to others by
        the peaks of their vector units.
        """
        if self.platform is not Platform.TPU:
            return {}
        peak = self.vector_flops_per_s["float32"] * _ENTRYWISE_FRACTION
        return {
            "batch_overhead_s": 1e-6,
            "batch_half_m": 250.0,
            "entrywise_flops_per_s": float(f"{peak:.4g}"),
            "entrywise_lanes": 128,
        }

    def _vector_rates(self) -> Iterator[Rate]:
        kinds = {
            OperationKind.ELEMENTWISE: 1.0,
            OperationKind.REDUCTION_MINOR: 1.0,
            OperationKind.REDUCTION_MAJOR: 1.0,
            OperationKind.TRANSPOSE: self.transpose_fraction,
            OperationKind.GATHER: self.gather_fraction,
        }
        for (dtype, peak), (kind, part) in itertools.product(
            self.vector_flops_per_s.items(), kinds.items()
        ):
            yield self._rate(kind, dtype, "default", peak, part)

    def _rate(
        self, kind: OperationKind, dtype: str, precision: str, peak: float, part: float
    ) -> Rate:
        moved = _digits(self.bytes_per_s * part)
        return Rate(
            kind=kind,
            dtype=dtype,
            precision=precision,
            peak_flops_per_s=_digits(peak),
            read_bytes_per_s=moved,
            write_bytes_per_s=moved,
            fresh_write_bytes_per_s=moved,
            transcendentals_per_s=_digits(self.transcendentals_per_s),
            overhead_s=self.overhead_s,
        )


def _digits(value: float) -> float:
    """Keeps four digits: more would pretend to be known."""
    return float(f"{value:.4g}")


_TPU_NOTES = (
    "Peaks, bandwidth and capacity are the documentation's. Assumed, not from the "
    "documentation: float32 products take 1, 3 and 6 bfloat16 passes at default, high "
    "and highest precision; vector units of 8 x 128 lanes with 4 ALUs at the clock "
    "that the peak implies or {clock_ghz} GHz; kernel gradients at half the peak."
)


def _tpu(
    name: str,
    device_kind: str,
    *,
    cores: int,
    capacity_bytes: int,
    bytes_per_s: float,
    peak: float,
    clock_ghz: float,
    unit: int,
) -> Datasheet:
    """A TPU, whose matrix units have `unit` rows and columns."""
    version = name.removeprefix("tpu_")
    lanes = cores * 8 * 128 * clock_ghz * 1e9
    return Datasheet(
        name=name,
        platform=Platform.TPU,
        device_kind=device_kind,
        cores=cores,
        source=f"Google Cloud documentation, TPU {version}, "
        f"https://docs.cloud.google.com/tpu/docs/{version}",
        notes=_TPU_NOTES.format(clock_ghz=clock_ghz),
        capacity_bytes=capacity_bytes,
        usable_fraction=0.97,
        bytes_per_s=bytes_per_s,
        products={
            ("float32", "default"): peak,
            ("float32", "high"): peak / 3,
            ("float32", "highest"): peak / 6,
            ("bfloat16", "default"): peak,
        },
        vector_flops_per_s={"float32": 4 * lanes},
        transcendentals_per_s=lanes,
        halves=(8.0, unit / 2, unit / 2),
        transpose_fraction=0.5,
        gather_fraction=0.1,
        loop_overhead_s=1e-6,
        overhead_s=1e-6,
    )


_GPU_NOTES = (
    "Peaks, bandwidth and capacity are the datasheet's, without sparsity. Assumed, not "
    "from the datasheet: transcendentals (16 per multiprocessor and clock), kernel "
    "gradients at half the peak. float32 at default and high precision runs as TF32; "
    "usable memory is what XLA preallocates by default (75 %)."
)


def _gpu(
    name: str,
    device_kind: str,
    source: str,
    *,
    cores: int,
    capacity_bytes: int,
    bytes_per_s: float,
    half: float,
    single: float,
    double: tuple[float, float],
    clock_ghz: float,
) -> Datasheet:
    """A GPU: flops of 16-bit tensor cores, of float32, of float64 with tensor cores.

    `double` are the flops of float64 with and without them.
    """
    return Datasheet(
        name=name,
        platform=Platform.GPU,
        device_kind=device_kind,
        cores=cores,
        source=source,
        notes=_GPU_NOTES,
        capacity_bytes=capacity_bytes,
        usable_fraction=0.75,
        bytes_per_s=bytes_per_s,
        products={
            ("float32", "default"): half / 2,
            ("float32", "high"): half / 2,
            ("float32", "highest"): single,
            ("bfloat16", "default"): half,
            ("float16", "default"): half,
            ("float64", "default"): double[0],
        },
        vector_flops_per_s={"float32": single, "float64": double[1]},
        transcendentals_per_s=16 * cores * clock_ghz * 1e9,
        halves=(32.0, 32.0, 16.0),
        transpose_fraction=0.7,
        gather_fraction=0.5,
        loop_overhead_s=1e-5,
        overhead_s=3e-6,
    )


_ALL = (
    _tpu(
        "tpu_v4",
        "TPU v4",
        cores=2,
        capacity_bytes=32_000_000_000,
        bytes_per_s=1.2e12,
        peak=275e12,
        clock_ghz=1.05,
        unit=128,
    ),
    _tpu(
        "tpu_v5e",
        "TPU v5 lite",
        cores=1,
        capacity_bytes=16_000_000_000,
        bytes_per_s=819e9,
        peak=197e12,
        clock_ghz=1.5,
        unit=128,
    ),
    _tpu(
        "tpu_v5p",
        "TPU v5",
        cores=2,
        capacity_bytes=95_000_000_000,
        bytes_per_s=2.765e12,
        peak=459e12,
        clock_ghz=1.75,
        unit=128,
    ),
    _tpu(
        "tpu_v6e",
        "TPU v6 lite",
        cores=1,
        capacity_bytes=32_000_000_000,
        bytes_per_s=1.638e12,
        peak=918e12,
        clock_ghz=1.75,
        unit=256,
    ),
    _gpu(
        "nvidia_a100",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA A100 Tensor Core GPU datasheet, "
        "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/"
        "nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
        cores=108,
        capacity_bytes=80_000_000_000,
        bytes_per_s=2.039e12,
        half=312e12,
        single=19.5e12,
        double=(19.5e12, 9.7e12),
        clock_ghz=1.41,
    ),
    _gpu(
        "nvidia_h100",
        "NVIDIA H100 80GB HBM3",
        "NVIDIA H100 Tensor Core GPU datasheet, "
        "https://www.nvidia.com/en-us/data-center/h100/",
        cores=132,
        capacity_bytes=80_000_000_000,
        bytes_per_s=3.35e12,
        half=989e12,
        single=67e12,
        double=(67e12, 34e12),
        clock_ghz=1.83,
    ),
    _gpu(
        "nvidia_h200",
        "NVIDIA H200",
        "NVIDIA H200 Tensor Core GPU, https://www.nvidia.com/en-us/data-center/h200/",
        cores=132,
        capacity_bytes=141_000_000_000,
        bytes_per_s=4.8e12,
        half=989e12,
        single=67e12,
        double=(67e12, 34e12),
        clock_ghz=1.83,
    ),
)

DATASHEETS: Mapping[str, Datasheet] = {sheet.name: sheet for sheet in _ALL}
