"""From work to seconds."""

from __future__ import annotations

from typing import cast

from ntkplan.cost.profile import ITEM_BYTES, DeviceProfile, Platform, Rate
from ntkplan.cost.work import Operation, OperationKind, Work

_REDUCTIONS = (OperationKind.REDUCTION_MINOR, OperationKind.REDUCTION_MAJOR)


def seconds(
    work: Work, profile: DeviceProfile, *, dtype: str, precision: str | None
) -> float:
    """Predicts how long a piece of work takes, as part of a larger program.

    What one call of a program costs (`profile.launch.call_overhead_s`) is not in it.

    Memory counts as fresh where the work as a whole needs at least
    `profile.memory.fresh_buffer_bytes`; but no more than the peak is ever fresh, since
    what is freed within a program is used again.

    Args:
        work: Work with numbers, see `ntkplan.cost.symbols.evaluate`.
        profile: The device.
        dtype: NumPy's name of the data type.
        precision: As `jax.lax.Precision` in lower case, or None.

    Returns:
        Seconds.
    """
    peak_bytes = cast(float, work.peak_bytes)
    total = 0.0
    discount = 0.0
    fresh_bytes = 0.0
    for operation in work.operations:
        total += operation_seconds(
            operation,
            profile,
            dtype=dtype,
            precision=precision,
            program_bytes=peak_bytes,
        )
        if peak_bytes:
            written = cast(float, operation.bytes_written_fresh)
            fresh_bytes += written
            discount += _page_fault_seconds(operation, profile, dtype, precision)
    threshold = profile.memory.fresh_buffer_bytes
    if threshold and peak_bytes >= threshold and fresh_bytes > peak_bytes:
        total -= discount * (1 - peak_bytes / fresh_bytes)
    return total


def operation_seconds(
    operation: Operation,
    profile: DeviceProfile,
    *,
    dtype: str,
    precision: str | None,
    program_bytes: float = 0,
) -> float:
    """Predicts how long one operation takes.

    On a CPU arithmetic and memory add up; elsewhere they overlap, and the slower of
    the two counts.

    Args:
        operation: An operation with numbers.
        profile: The device.
        dtype: NumPy's name of the data type.
        precision: As `jax.lax.Precision` in lower case, or None.
        program_bytes: What the program around it allocates at once, where known.

    Returns:
        Seconds.
    """
    repeats = max(1.0, cast(float, operation.repeats))
    launch = profile.launch
    if operation.kind is OperationKind.LOOP:
        return repeats * launch.loop_overhead_s
    rate = profile.rate(operation.kind, dtype, precision)
    arithmetic = _arithmetic_seconds(operation, rate)
    memory = _memory_seconds(operation, profile, rate, program_bytes)
    if profile.platform is not Platform.CPU:
        return max(arithmetic, memory) + repeats * rate.overhead_s
    body = arithmetic + memory
    if operation.in_loop and launch.loop_operation_s:
        # The body of a loop is compiled as one piece: a small operation in it calls no
        # library, pays no launch of its own and runs on one core.
        alone = profile.cores * (cast(float, operation.flops) / rate.peak_flops_per_s)
        small = alone + profile.cores * memory + repeats * launch.loop_operation_s
        if small < launch.parallel_min_s * repeats:
            return small
    if launch.parallel_min_s:
        if body < launch.parallel_min_s * repeats:
            body *= profile.cores
        else:
            body += launch.parallel_overhead_s * repeats
    return body + repeats * rate.overhead_s


def _efficiency(operation: Operation, rate: Rate) -> float:
    """Returns the part of the peak that products of these sizes reach."""
    efficiency = 1.0
    for size, half in (
        (operation.m, rate.half_efficiency_m),
        (operation.n, rate.half_efficiency_n),
        (operation.k, rate.half_efficiency_k),
    ):
        if half:
            efficiency *= max(1.0, cast(float, size)) / (
                max(1.0, cast(float, size)) + half
            )
    return efficiency


def _arithmetic_seconds(operation: Operation, rate: Rate) -> float:
    flops_s = cast(float, operation.flops) / rate.peak_flops_per_s
    return (
        flops_s / _efficiency(operation, rate)
        + cast(float, operation.transcendentals) / rate.transcendentals_per_s
    )


def _memory_seconds(
    operation: Operation, profile: DeviceProfile, rate: Rate, program_bytes: float
) -> float:
    read_bytes_per_s = rate.read_bytes_per_s
    if operation.kind in _REDUCTIONS:
        read_bytes_per_s *= _efficiency(operation, rate)
        stride_bytes = ITEM_BYTES.get(rate.dtype, 4) * cast(float, operation.n)
        if rate.far_stride_bytes and stride_bytes >= rate.far_stride_bytes:
            read_bytes_per_s = rate.far_read_bytes_per_s
    fresh_bytes = cast(float, operation.bytes_written_fresh)
    reused_bytes = cast(float, operation.bytes_written_reused)
    if not _is_fresh(operation, profile, program_bytes):
        reused_bytes, fresh_bytes = reused_bytes + fresh_bytes, 0.0
    return (
        cast(float, operation.bytes_read) / read_bytes_per_s
        + reused_bytes / rate.write_bytes_per_s
        + fresh_bytes / rate.fresh_write_bytes_per_s
    )


def _is_fresh(
    operation: Operation, profile: DeviceProfile, program_bytes: float
) -> bool:
    """Whether new memory of this size comes as untouched pages."""
    repeats = max(1.0, cast(float, operation.repeats))
    per_launch = cast(float, operation.bytes_written_fresh) / repeats
    return max(per_launch, program_bytes) >= profile.memory.fresh_buffer_bytes


def _page_fault_seconds(
    operation: Operation, profile: DeviceProfile, dtype: str, precision: str | None
) -> float:
    """Returns how much longer the operation's writes take for being fresh."""
    if operation.kind is OperationKind.LOOP:
        return 0.0
    rate = profile.rate(operation.kind, dtype, precision)
    slower = 1 / rate.fresh_write_bytes_per_s - 1 / rate.write_bytes_per_s
    return cast(float, operation.bytes_written_fresh) * max(0.0, slower)
