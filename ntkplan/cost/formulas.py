"""From work to seconds."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np

from ntkplan.cost.correction import Correction, errors_of, interpolate
from ntkplan.cost.profile import DeviceProfile, Rate
from ntkplan.cost.roofline import (
    PRODUCTS,
    body_seconds,
    entrywise_seconds,
    launch_seconds,
    memory_seconds,
)
from ntkplan.cost.samples import Columns
from ntkplan.cost.work import Operation, OperationKind, Work

_REMEMBERED = 2**16


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

    The profile's rates give a time (`ntkplan.cost.roofline`), and its samples, where
    it has any near these sizes, correct it (`ntkplan.cost.correction`). A product of
    one term is what compilers make of it: an elementwise multiplication.

    Args:
        operation: An operation with numbers.
        profile: The device.
        dtype: NumPy's name of the data type.
        precision: As `jax.lax.Precision` in lower case, or None.
        program_bytes: What the program around it allocates at once, where known.

    Returns:
        Seconds.
    """
    threshold = profile.memory.fresh_buffer_bytes
    new = bool(threshold) and program_bytes >= threshold
    key = (operation, dtype, precision, new)
    known = profile.remembered.get(key)
    if known is None:
        if len(profile.remembered) >= _REMEMBERED:
            profile.remembered.clear()
        known = _operation_seconds(operation, profile, dtype, precision, program_bytes)
        profile.remembered[key] = known
    return known


def predicted_seconds(
    columns: Columns,
    profile: DeviceProfile,
    rate: Rate,
    corrected: Correction | None = None,
    program_bytes: float = 0,
) -> np.ndarray:
    """Predicts the seconds of many operations of one class, none of them in a loop."""
    times = body_seconds(columns, profile, rate, program_bytes)
    times = times + launch_seconds(columns, rate)
    return times if corrected is None else times * corrected.factors(columns)


def correction(profile: DeviceProfile, rate: Rate) -> Correction | None:
    """Returns what a rate's own samples correct, None where they do not."""
    if rate.fit is None or not rate.fit.correction_reach:
        return None
    key = rate.key
    if key not in profile.corrections:
        columns = Columns.of_rows(rate.fit.samples)
        errors, variances = errors_of(
            columns.seconds,
            predicted_seconds(columns, profile, rate),
            profile.launch.call_overhead_s,
        )
        profile.corrections[key] = interpolate(
            rate.kind,
            columns,
            errors,
            variances,
            reach=rate.fit.correction_reach,
            noise=rate.fit.correction_noise,
        )
    return profile.corrections[key]


def _class_of(operation: Operation) -> OperationKind:
    if operation.k == 1 and operation.kind in PRODUCTS[:2]:
        return OperationKind.ELEMENTWISE
    return operation.kind


def _operation_seconds(
    operation: Operation,
    profile: DeviceProfile,
    dtype: str,
    precision: str | None,
    program_bytes: float,
) -> float:
    repeats = cast(float, operation.repeats)
    if repeats < 1:
        repeats = 1.0
        operation = dataclasses.replace(operation, repeats=1)
    kind = _class_of(operation)
    launch = profile.launch
    if kind is OperationKind.LOOP:
        return repeats * launch.loop_overhead_s
    rate = profile.rate(kind, dtype, precision, operation.variant)
    if operation.in_loop and launch.loop_operation_s:
        small = in_loop_seconds(operation, profile, rate)
        if small < launch.loop_small_s * repeats:
            return small
    predicted = body_seconds(operation, profile, rate, program_bytes)
    predicted += launch_seconds(operation, rate)
    if operation.entrywise and rate.entrywise_flops_per_s:
        elementwise = profile.rate(OperationKind.ELEMENTWISE, dtype, precision)
        other = float(entrywise_seconds(operation, profile, rate, elementwise))
        predicted = min(predicted, other)
    corrected = correction(profile, rate)
    return predicted if corrected is None else predicted * corrected.factor(operation)


def is_entrywise(
    operation: Operation, profile: DeviceProfile, *, dtype: str, precision: str | None
) -> bool:
    """Says whether an operation is faster as a product and a sum of arrays.

    Args:
        operation: An operation with numbers.
        profile: The device.
        dtype: NumPy's name of the data type.
        precision: As `jax.lax.Precision` in lower case, or None.
    """
    if not operation.entrywise or operation.k == 1:
        return False
    rate = profile.rate(operation.kind, dtype, precision, operation.variant)
    if not rate.entrywise_flops_per_s:
        return False
    elementwise = profile.rate(OperationKind.ELEMENTWISE, dtype, precision)
    whole = body_seconds(operation, profile, rate) + launch_seconds(operation, rate)
    return bool(entrywise_seconds(operation, profile, rate, elementwise) < whole)


def in_loop_seconds(counts: Any, profile: DeviceProfile, rate: Rate) -> Any:
    """Returns the seconds of a small operation in the body of a loop.

    The body is compiled as one piece: a small operation in it calls no library, pays no
    launch of its own and runs on one core.

    Args:
        counts: An `Operation` with numbers, or `Columns` of one class.
        profile: The device.
        rate: The rates of the operation's class.
    """
    arithmetic = counts.flops / rate.peak_flops_per_s
    memory = memory_seconds(counts, profile, rate, 0)
    launches = counts.repeats * profile.launch.loop_operation_s
    return profile.cores * (arithmetic + memory) + launches


def _page_fault_seconds(
    operation: Operation, profile: DeviceProfile, dtype: str, precision: str | None
) -> float:
    """Returns how much longer the operation's writes take for being fresh."""
    if operation.kind is OperationKind.LOOP:
        return 0.0
    rate = profile.rate(_class_of(operation), dtype, precision, operation.variant)
    slower = 1 / rate.fresh_write_bytes_per_s - 1 / rate.write_bytes_per_s
    return cast(float, operation.bytes_written_fresh) * max(0.0, slower)
