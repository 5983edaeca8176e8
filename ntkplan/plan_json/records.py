"""Frozen records as plain values that JSON can hold, and back by their types."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Returns a value with dictionaries for records and lists for tuples.

    Example:
        >>> from ntkplan.ir.plan import Trial
        >>> plain((Trial(what="w", error=0.5, seconds=1.0),))
        [{'what': 'w', 'error': 0.5, 'seconds': 1.0}]
    """
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def record(kind: Any, value: Any, place: str = "") -> Any:
    """Builds a value of a type from what `plain` made of it.

    Args:
        kind: The type: a record, an enum, a number, a text, or a tuple, a mapping or a
            union of such.
        value: The plain value.
        place: Where it stands, for the error.

    Raises:
        ValueError: It is no such value.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (kind,) = [item for item in arguments if item is not type(None)]
        return record(kind, value, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{place} is no list")
        return tuple(record(arguments[0], item, place) for item in value)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, place)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and type(value) is int:
        return value
    if type(value) is not kind:
        raise ValueError(f"{place} is no {kind.__name__}")
    return value


def _record(kind: Any, value: Any, place: str) -> Any:
    hints = _hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"{place} does not hold the fields of {kind.__name__}")
    fields = {
        name: record(hints[name], value[name], f"{place}.{name}") for name in names
    }
    return kind(**fields)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
