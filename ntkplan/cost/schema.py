"""The file format of device profiles: TOML in, checked records out, and back."""

from __future__ import annotations

import dataclasses
import datetime
import json
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
    Fit,
    Launch,
    Memory,
    Origin,
    Platform,
    Provenance,
    Rate,
)
from ntkplan.cost.work import OperationKind
from ntkplan.errors import InvalidDeviceProfileError

SCHEMA_VERSION = 1

_UNITS = ("_bytes_per_s", "_flops_per_s", "_per_s", "_bytes", "_fraction", "_s")

_MAY_BE_ZERO = frozenset(
    {
        "threads",
        "noise_median_fraction",
        "noise_p90_fraction",
        "scratch_margin_fraction",
        "fresh_buffer_bytes",
        "call_overhead_s",
        "loop_overhead_s",
        "loop_operation_s",
        "parallel_overhead_s",
        "parallel_min_s",
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
            finite, negative, or zero where that has no meaning.
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
    _check_rates(profile, where)
    _check_memory(profile.memory, where)
    return profile


def _check_rates(profile: DeviceProfile, where: str) -> None:
    """Checks what concerns several rates or several fields of one."""
    seen: set[tuple[OperationKind, str, str]] = set()
    for index, rate in enumerate(profile.rates):
        path = f"rates[{index}]"
        key = (rate.kind, rate.dtype, rate.precision)
        if key in seen:
            reason = f"repeats kind, dtype and precision {', '.join(key)}"
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
        width = len(SAMPLE_COLUMNS)
        if rate.fit and any(len(row) != width for row in rate.fit.samples):
            raise InvalidDeviceProfileError(
                profile=where,
                field=f"{path}.fit.samples",
                reason=f"has rows of other than {width} columns",
            )
    for kind in REQUIRED_KINDS:
        if not any(key[:2] == (kind, "float32") for key in seen):
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
        if kind in (Origin, Platform, OperationKind):
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


def profile_to_toml(profile: DeviceProfile) -> str:
    """Returns the text of a profile's file; reading it gives the same profile."""
    lines = [f"schema_version = {SCHEMA_VERSION}"]
    tables = ("provenance", "memory", "launch")
    for field in dataclasses.fields(profile):
        if field.name not in (*tables, "rates"):
            lines.append(f"{field.name} = {_literal(getattr(profile, field.name))}")
    for name in tables:
        lines += ["", f"[{name}]", *_assignments(getattr(profile, name))]
    for rate in profile.rates:
        lines += ["", "[[rates]]", *_assignments(rate)]
        if rate.fit is not None:
            lines += ["", "[rates.fit]", *_assignments(rate.fit)]
    return "\n".join(lines) + "\n"


def _assignments(record: Provenance | Memory | Launch | Rate | Fit) -> list[str]:
    return [
        f"{field.name} = {_literal(value)}"
        for field in dataclasses.fields(record)
        if (value := getattr(record, field.name)) is not None
        and not isinstance(value, Fit)
    ]


def _literal(value: Any) -> str:
    """Returns one value as TOML."""
    if isinstance(value, str):
        return json.dumps(str(value))
    if isinstance(value, tuple):
        if value and isinstance(value[0], tuple):
            rows = "".join(f"    {_literal(row)},\n" for row in value)
            return f"[\n{rows}]"
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, float) and value == int(value) and value < 1e9:
        return f"{int(value)}.0"
    return repr(value)
