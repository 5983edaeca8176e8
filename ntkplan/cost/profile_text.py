"""Writes a device profile as TOML."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

SCHEMA_VERSION = 1


def profile_text(profile: Any) -> str:
    """Returns the text of a profile's file; reading it gives the same profile.

    Args:
        profile: A `DeviceProfile`. What it holds besides plain values are records and
            tuples of records; only their fields are looked at.
    """
    lines = [f"schema_version = {SCHEMA_VERSION}", *_assignments(profile)]
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if dataclasses.is_dataclass(value):
            lines += ["", f"[{field.name}]", *_assignments(value)]
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if _is_records(value):
            for record in value:
                lines += ["", f"[[{field.name}]]", *_table(record, field.name)]
    return "\n".join(lines) + "\n"


def _table(record: Any, path: str) -> list[str]:
    """Returns the lines of one record of an array, its own tables after its values."""
    lines = _assignments(record)
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            lines += ["", f"[{path}.{field.name}]", *_assignments(value)]
    return lines


def _assignments(record: Any) -> list[str]:
    """Returns a line for every plain value that is not what it would be anyway."""
    lines: list[str] = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        table = dataclasses.is_dataclass(value) or _is_records(value)
        if not table and value is not None and value != field.default:
            lines.append(f"{field.name} = {_literal(value)}")
    return lines


def _is_records(value: Any) -> bool:
    return isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))


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
