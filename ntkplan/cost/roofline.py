"""How long an operation takes by a device's rates alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntkplan.cost.profile import ITEM_BYTES, DeviceProfile, Platform, Rate
from ntkplan.cost.work import OperationKind

PRODUCTS = (
    OperationKind.DOT,
    OperationKind.BATCHED_DOT,
    OperationKind.CONVOLUTION,
    OperationKind.CONVOLUTION_KERNEL_GRADIENT,
)
"""Classes whose sizes are those of a product of matrices."""

_REDUCTIONS = (OperationKind.REDUCTION_MINOR, OperationKind.REDUCTION_MAJOR)
_SHARPNESS = 4


def body_seconds(
    counts: Any, profile: DeviceProfile, rate: Rate, program_bytes: float = 0
) -> Any:
    """Returns the seconds of an operation, without what its launches cost.

    On a CPU arithmetic and memory overlap in part, and a small operation is not worth
    splitting among the cores; elsewhere the slower of both counts.

    Args:
        counts: An `Operation` with numbers; or anything with its fields as arrays, for
            many operations of one class at a time.
        profile: The device.
        rate: The rates of the operation's class.
        program_bytes: What the program around it allocates at once, where known.

    Returns:
        A number, or an array.
    """
    arithmetic = arithmetic_seconds(counts, rate)
    memory = memory_seconds(counts, profile, rate, program_bytes)
    if profile.platform is not Platform.CPU:
        if isinstance(memory, np.ndarray):
            return np.maximum(arithmetic, memory)
        return max(arithmetic, memory)
    body = (arithmetic * arithmetic + memory * memory) ** 0.5
    if not rate.parallel_overhead_s:
        return body
    alone = profile.cores * body
    split = body + rate.parallel_overhead_s * counts.repeats
    # The lesser of both, rounded where they meet.
    together = (alone**_SHARPNESS + split**_SHARPNESS) ** (1 / _SHARPNESS)
    return alone * split / together


def arithmetic_seconds(counts: Any, rate: Rate) -> Any:
    """Returns the seconds of an operation's arithmetic on all cores."""
    seconds = counts.flops / rate.peak_flops_per_s
    if rate.kind in PRODUCTS:
        seconds = seconds / _efficiency(counts, rate)
    return seconds + counts.transcendentals / rate.transcendentals_per_s


def _efficiency(counts: Any, rate: Rate) -> Any:
    """Returns the part of the peak that is reached at these sizes."""
    efficiency = 1.0
    for size, half in (
        (counts.m, rate.half_efficiency_m),
        (counts.n, rate.half_efficiency_n),
        (counts.k, rate.half_efficiency_k),
    ):
        if half:
            longer = size + 1e-6
            efficiency = efficiency * (longer / (longer + half * (size > 1)))
    return efficiency


def memory_seconds(
    counts: Any, profile: DeviceProfile, rate: Rate, program_bytes: float
) -> Any:
    """Returns the seconds of what an operation reads and writes, on all cores."""
    read = counts.bytes_read / rate.read_bytes_per_s
    if rate.kind in _REDUCTIONS:
        read = read / _efficiency(counts, rate)
        if rate.far_stride_bytes:
            far = ITEM_BYTES.get(rate.dtype, 4) * counts.n >= rate.far_stride_bytes
            read = read + far * (counts.bytes_read / rate.far_read_bytes_per_s - read)
    new = is_fresh(counts, profile, program_bytes)
    fresh = counts.bytes_written_fresh * new
    warm = counts.bytes_written_fresh - fresh + counts.bytes_written_reused
    moved = read + warm / rate.write_bytes_per_s
    cache = profile.memory.cache_bytes
    if cache and rate.cache_speedup != 1:
        touched = (
            counts.bytes_read + counts.bytes_written_fresh + counts.bytes_written_reused
        ) / (counts.repeats * cache)
        beyond = touched * touched / (1 + touched * touched)
        moved = moved * (beyond + (1 - beyond) / rate.cache_speedup)
    return moved + fresh / rate.fresh_write_bytes_per_s


def launch_seconds(counts: Any, rate: Rate) -> Any:
    """Returns the seconds of an operation's launches, and of beginning its products."""
    seconds = counts.repeats * rate.overhead_s
    if rate.batch_overhead_s:
        products = counts.repeats * counts.batch
        rows = counts.m / (counts.m + rate.batch_half_m)
        seconds = seconds + products * rate.batch_overhead_s * rows
    return seconds


def entrywise_seconds(
    counts: Any, profile: DeviceProfile, rate: Rate, elementwise: Rate
) -> Any:
    """Returns the seconds of a batched product as a product and a sum of arrays.

    Args:
        counts: An `Operation` with numbers, or `Columns` of one class.
        profile: The device.
        rate: The rates of batched products.
        elementwise: Those of entrywise operations.
    """
    lanes = rate.entrywise_lanes
    padded = np.ceil(counts.batch / lanes) * lanes / counts.batch
    arithmetic = counts.flops * padded / rate.entrywise_flops_per_s
    memory = memory_seconds(counts, profile, elementwise, 0)
    launches = counts.repeats * elementwise.overhead_s
    return np.maximum(arithmetic, memory) + launches


def is_fresh(counts: Any, profile: DeviceProfile, program_bytes: float) -> Any:
    """Says whether new memory of this size comes as untouched pages."""
    least = profile.memory.fresh_buffer_bytes
    if not least or program_bytes >= least:
        return True
    return counts.bytes_written_fresh >= least * counts.repeats
