"""The file format of device profiles: TOML in, checked records out."""

from __future__ import annotations

import dataclasses
import datetime
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from ntkplan.cost.profile import (
    PRECISIONS,
    REQUIRED_KINDS,
    SAMPLE_COLUMNS,
    DeviceProfile,
    Memory,
    Origin,
    Platform,
)
from ntkplan.cost.profile_text import SCHEMA_VERSION
from ntkplan.cost.work import OperationKind, Variant
from ntkplan.errors import InvalidDeviceProfileError

_UNITS = ("_bytes_per_s", "_flops_per_s", "_per_s", "_bytes", "_fraction", "_s")

_MAY_BE_ZERO = frozenset(
    {
        "threads",
        "noise_median_fraction",
        "noise_p90_fraction",
        "scratch_margin_fraction",
        "fresh_buffer_bytes",
        "packed_columns",
        "batch_overhead_s",
        "batch_half_m",
        "entrywise_flops_per_s",
        "call_overhead_s",
        "loop_overhead_s",
        "loop_operation_s",
        "loop_small_s",
        "cache_bytes",
        "parallel_overhead_s",
        "correction_reach",
        "correction_noise",
        "overhead_s",
        "half_efficiency_m",
        "half_efficiency_n",
        "half_efficiency_k",
        "far_stride_bytes",
        "far_read_bytes_per_s",
        "median_error_fraction",
        "held_out_median_error_fraction",
        "held_out_p90_error_fraction",
    }
)


def profile_from_fields(fields: Mapping[str, Any], *, where: str) -> DeviceProfile:
    """Checks a parsed profile and makes records of it.

    Args:
        fields: What `tomllib` read.
        where: The file or name, for messages.

    Returns:
        The profile.

    Raises:
        InvalidDeviceProfileError: A field is missing, unknown, of another type, not
            finite, negative, or zero where that has no meaning; or the figures cannot
            come from where `provenance.origin` says.
    """
    fields = dict(fields)
    version = fields.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        reason = (
            "is missing" if version is None else f"is {version!r}, not {SCHEMA_VERSION}"
        )
        raise InvalidDeviceProfileError(
            profile=where, field="schema_version", reason=reason
        )
    profile: DeviceProfile = _Reader(where).record(DeviceProfile, fields, "")
    _check_provenance(profile, where)
    _check_rates(profile, where)
    _check_memory(profile.memory, where)
    return profile


def _check_provenance(profile: DeviceProfile, where: str) -> None:
    """Checks that the figures can be what they are called.

    Measured are only figures with the programs that were timed and the versions that
    compiled them; an estimate comes from a compiler with a version.
    """
    source = profile.provenance

    def refuse(field: str, reason: str) -> None:
        raise InvalidDeviceProfileError(profile=where, field=field, reason=reason)

    try:
        datetime.date.fromisoformat(source.date)
    except ValueError:
        refuse("provenance.date", f"is {source.date!r}, not a date as 2026-01-31")
    if not source.sources:
        refuse("provenance.sources", "is empty: name the program or the datasheet")
    if source.origin is Origin.MEASURED:
        for name in ("jax_version", "jaxlib_version"):
            if not getattr(source, name):
                refuse(f"provenance.{name}", "is empty, but the origin is measured")
    if source.origin is Origin.COMPILER_ESTIMATE and not (
        source.jaxlib_version or source.plugin_versions
    ):
        refuse(
            "provenance.plugin_versions",
            "names no compiler, nor does jaxlib_version, but the origin is "
            "compiler_estimate",
        )
    for index, rate in enumerate(profile.rates):
        sampled = rate.fit is not None and bool(rate.fit.samples)
        if source.origin is Origin.MEASURED and not sampled:
            refuse(
                f"rates[{index}].fit.samples", "is missing, but the origin is measured"
            )
        if source.origin is Origin.DATASHEET and sampled:
            refuse(f"rates[{index}].fit.samples", "is not what a datasheet has")


def _check_rates(profile: DeviceProfile, where: str) -> None:
    """Checks what concerns several rates or several fields of one."""
    seen: set[tuple[OperationKind, str, str, Variant]] = set()
    for index, rate in enumerate(profile.rates):
        path = f"rates[{index}]"
        key = rate.key
        if key in seen:
            reason = f"repeats kind, dtype, precision and variant {', '.join(key)}"
            raise InvalidDeviceProfileError(profile=where, field=path, reason=reason)
        seen.add(key)
        if rate.precision not in PRECISIONS:
            reason = f"is {rate.precision!r}, not one of {', '.join(PRECISIONS)}"
            raise InvalidDeviceProfileError(
                profile=where, field=f"{path}.precision", reason=reason
            )
        if rate.far_stride_bytes and not rate.far_read_bytes_per_s:
            raise InvalidDeviceProfileError(
                profile=where,
                field=f"{path}.far_read_bytes_per_s",
                reason="must be positive where far_stride_bytes is",
            )
        if rate.cache_speedup < 1:
            raise InvalidDeviceProfileError(
                profile=where, field=f"{path}.cache_speedup", reason="is below 1"
            )
        width = len(SAMPLE_COLUMNS)
        if rate.fit and any(len(row) != width for row in rate.fit.samples):
            raise InvalidDeviceProfileError(
                profile=where,
                field=f"{path}.fit.samples",
                reason=f"has rows of other than {width} columns",
            )
    for kind in REQUIRED_KINDS:
        plain = (kind, "float32", Variant.PLAIN)
        if not any((key[0], key[1], key[3]) == plain for key in seen):
            raise InvalidDeviceProfileError(
                profile=where, field="rates", reason=f"has no float32 {kind}"
            )


def _check_memory(memory: Memory, where: str) -> None:
    if memory.usable_bytes > memory.capacity_bytes:
        raise InvalidDeviceProfileError(
            profile=where,
            field="memory.usable_bytes",
            reason=f"is more than capacity_bytes ({memory.capacity_bytes})",
        )
    if memory.scratch_margin_fraction >= 1:
        raise InvalidDeviceProfileError(
            profile=where,
            field="memory.scratch_margin_fraction",
            reason=f"is {memory.scratch_margin_fraction}, not below 1",
        )


class _Reader:
    """Makes records of tables, with the path of every field at hand for messages."""

    def __init__(self, where: str) -> None:
        self.where = where

    def refuse(self, field: str, reason: str) -> InvalidDeviceProfileError:
        return InvalidDeviceProfileError(profile=self.where, field=field, reason=reason)

    def record(self, kind: Any, table: Any, path: str) -> Any:
        if not isinstance(table, Mapping):
            raise self.refuse(path, f"is {type(table).__name__}, not a table")
        types_of = typing.get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        prefix = f"{path}." if path else ""
        for name in table:
            if name not in fields:
                raise self.refuse(f"{prefix}{name}", _unknown(name, fields))
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in table:
                value = self.value(types_of[name], table[name], f"{prefix}{name}")
                values[name] = value
            elif field.default is dataclasses.MISSING:
                raise self.refuse(f"{prefix}{name}", "is missing")
        return kind(**values)

    def value(self, kind: Any, value: Any, path: str) -> Any:
        if typing.get_origin(kind) is tuple:
            if not isinstance(value, list | tuple):
                raise self.refuse(path, f"is {type(value).__name__}, not an array")
            item = typing.get_args(kind)[0]
            return tuple(
                self.value(item, part, f"{path}[{index}]")
                for index, part in enumerate(value)
            )
        if typing.get_origin(kind) is types.UnionType:
            kind = typing.get_args(kind)[0]
        if dataclasses.is_dataclass(kind):
            return self.record(kind, value, path)
        if kind in (Origin, Platform, OperationKind, Variant):
            return self.choice(kind, value, path)
        if kind is str:
            return self.text(value, path)
        return self.number(kind, value, path)

    def choice(self, kind: Any, value: Any, path: str) -> Any:
        known = [item.value for item in kind]
        if value not in known:
            raise self.refuse(path, f"is {value!r}, not one of {', '.join(known)}")
        return kind(value)

    def text(self, value: Any, path: str) -> str:
        if isinstance(value, datetime.date):
            return value.isoformat()
        if not isinstance(value, str):
            raise self.refuse(path, f"is {type(value).__name__}, not a string")
        return value

    def number(self, kind: type, value: Any, path: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(path, f"is {type(value).__name__}, not a number")
        if not math.isfinite(value):
            raise self.refuse(path, f"is {value}, not a finite number")
        if value < 0:
            raise self.refuse(path, f"is {value}, and must not be negative")
        name = path.rsplit(".", 1)[-1]
        if value == 0 and name not in _MAY_BE_ZERO and "samples[" not in path:
            raise self.refuse(path, "is 0, and must be positive")
        if kind is int and value != int(value):
            raise self.refuse(path, f"is {value}, not a whole number")
        return kind(value)


def _unknown(name: str, fields: Mapping[str, Any]) -> str:
    """Says why a name is not a field: mostly its unit is missing."""
    for unit in _UNITS:
        if f"{name}{unit}" in fields:
            return f"has no unit in its name: {name}{unit}"
    return f"is not known; there are {', '.join(sorted(fields))}"
