"""From times of programs to rates of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ntkplan.calibration.suite import MATRIX_KINDS
from ntkplan.cost.fit import fit_rate, log_error
from ntkplan.cost.profile import ITEM_BYTES, DeviceProfile, Platform, Rate
from ntkplan.cost.samples import Sample
from ntkplan.cost.work import OperationKind, Variant

Class = tuple[OperationKind, str, str, Variant]
"""A class of operations, a data type, a precision, and the way of running it."""

_MATRIX = (
    "peak_flops_per_s",
    "half_efficiency_m",
    "half_efficiency_n",
    "half_efficiency_k",
)
_MEMORY = ("read_bytes_per_s", "write_bytes_per_s")
_OWN: dict[OperationKind, tuple[str, ...]] = {
    OperationKind.DOT: _MATRIX,
    OperationKind.BATCHED_DOT: _MATRIX,
    OperationKind.CONVOLUTION: _MATRIX,
    OperationKind.CONVOLUTION_KERNEL_GRADIENT: _MATRIX,
    OperationKind.ELEMENTWISE: ("transcendentals_per_s",),
    OperationKind.REDUCTION_MINOR: ("half_efficiency_k",),
    OperationKind.REDUCTION_MAJOR: (
        "half_efficiency_n",
        "half_efficiency_k",
        "far_read_bytes_per_s",
    ),
    OperationKind.TRANSPOSE: (),
    OperationKind.GATHER: (),
}
"""The fields of each class that are fitted beside those of memory."""

_FAR_STRIDES = (2**14, 2**16, 2**18)
_VECTORS = (Variant.VECTOR, Variant.TRANSPOSED_VECTOR)
_LEAST_SAMPLES = 6
"""With fewer a class is priced by rule; fields that these few do not determine stay
near where the fit starts."""


def fit_all(
    samples: Mapping[Class, Sequence[Sample]],
    profile: DeviceProfile,
    overhead_s: float,
) -> tuple[Rate, ...]:
    """Fits every class that has enough samples.

    Args:
        samples: What was measured.
        profile: The device, without rates.
        overhead_s: What launching one operation in a program costs.

    Returns:
        Rates, elementwise ones first: what new memory costs them is where others start.
    """
    rates: list[Rate] = []
    fresh: dict[str, float] = {}
    for key in sorted(samples, key=lambda key: key[0] is not OperationKind.ELEMENTWISE):
        kind, dtype, _, variant = key
        start = start_rate(key, profile.platform, overhead_s)
        free = free_fields(kind, variant, profile)
        if kind is not OperationKind.ELEMENTWISE:
            new = fresh.get(dtype, fresh.get("float32"))
            if new is not None:
                start = dataclasses.replace(start, fresh_write_bytes_per_s=new)
        if len(samples[key]) < _LEAST_SAMPLES:
            continue
        rate = _fit_kind(start, free, samples[key], profile)
        if kind is OperationKind.ELEMENTWISE:
            fresh[dtype] = rate.fresh_write_bytes_per_s
        rates.append(_without_fresh_memory(rate, profile))
    return tuple(rates)


def free_fields(
    kind: OperationKind, variant: Variant, profile: DeviceProfile
) -> tuple[str, ...]:
    """Returns the fields that a class's samples determine on this device."""
    own = ("peak_flops_per_s",) if variant in _VECTORS else _OWN[kind]
    free = [*own, *_MEMORY]
    if profile.memory.cache_bytes:
        free.append("cache_speedup")
    if profile.platform is Platform.CPU and profile.cores > 1:
        free.append("parallel_overhead_s")
    if profile.memory.fresh_buffer_bytes:
        free.append("fresh_write_bytes_per_s")
    return tuple(free)


def start_rate(key: Class, platform: Platform, overhead_s: float) -> Rate:
    """Returns where a fit starts: a middling device of its platform."""
    kind, dtype, precision, variant = key
    slower = max(1.0, ITEM_BYTES[dtype] / 4)
    matrix = kind in MATRIX_KINDS
    cpu = platform is Platform.CPU
    arithmetic = (3e11 if matrix else 2e11) if cpu else 3e13
    memory = 2e10 if cpu else 1e12
    half = (8.0 if cpu else 32.0) if matrix and variant not in _VECTORS else 0.0
    start = Rate(
        kind=kind,
        dtype=dtype,
        precision=precision,
        variant=variant,
        peak_flops_per_s=arithmetic / slower,
        read_bytes_per_s=memory,
        write_bytes_per_s=memory,
        fresh_write_bytes_per_s=4e9 if cpu else memory,
        transcendentals_per_s=(5e9 if cpu else 1e12) / slower,
        overhead_s=overhead_s,
        half_efficiency_m=half,
        half_efficiency_n=half,
        half_efficiency_k=half,
        cache_speedup=3.0 if cpu else 1.0,
        parallel_overhead_s=8e-6 if cpu else 0.0,
    )
    own = _OWN[kind]
    starts = {
        "half_efficiency_k": 16.0 if kind is OperationKind.REDUCTION_MINOR else 2.0,
        "half_efficiency_n": 8.0,
        "far_read_bytes_per_s": memory / 10,
    }
    if matrix:
        return start
    return dataclasses.replace(
        start, **{name: value for name, value in starts.items() if name in own}
    )


def _fit_kind(
    start: Rate,
    free: Sequence[str],
    samples: Sequence[Sample],
    profile: DeviceProfile,
) -> Rate:
    """Fits one class, over the candidates of what is not a smooth quantity."""
    if start.kind is not OperationKind.REDUCTION_MAJOR:
        return fit_rate(start, free, samples, profile)
    fits = [
        fit_rate(
            dataclasses.replace(start, far_stride_bytes=stride), free, samples, profile
        )
        for stride in _FAR_STRIDES
    ]
    return min(fits, key=lambda rate: log_error(rate, samples, profile))


def _without_fresh_memory(rate: Rate, profile: DeviceProfile) -> Rate:
    """Says of a device without page faults that new memory is like any other."""
    if profile.memory.fresh_buffer_bytes:
        return rate
    return dataclasses.replace(rate, fresh_write_bytes_per_s=rate.write_bytes_per_s)
