"""The dictionary of what a function records beside its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    method,
    statement,
    subscript,
)
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.numbering import packed
from ntkplan.emit.taps import dictionary
from ntkplan.ir.program import Record
from ntkplan.ir.use import Crop

# Lines from which on entries stand side by side.
_LEAST_PACKED = 7


def record_lines(
    prefix: str, records: Sequence[Record], names: Mapping[Var, str]
) -> list[str]:
    """Prints a dictionary of records.

    Args:
        prefix: What stands before it.
        records: Its entries.
        names: Python text for the variables that are recorded.
    """
    return table_of_records(prefix, record_texts(records, names))


def record_texts(
    records: Sequence[Record], names: Mapping[Var, str]
) -> tuple[tuple[str, str], ...]:
    """Returns keys of records, and Python text for what they hold."""
    return tuple(
        (record.key, _record_expression(record, names).text) for record in records
    )


def table_of_records(prefix: str, entries: Sequence[tuple[str, str]]) -> list[str]:
    """Prints a dictionary of some keys and texts."""
    values = [(key, atom(text)) for key, text in entries]
    lines = statement(prefix, dictionary(values), WIDTH)
    if len(lines) < _LEAST_PACKED:
        return lines
    texts = [f'"{key}": {text}' for key, text in entries]
    side_by_side = packed(f"{prefix}{{", texts, "}", INDENT)
    return side_by_side if max(map(len, side_by_side)) <= WIDTH else lines


def _record_expression(record: Record, names: Mapping[Var, str]) -> Expression:
    parts = [_one_record(record, variable, names) for variable in record.variables]
    if len(parts) == 1:
        return parts[0]
    return call("jnp.stack", bracketed(parts, brackets="[]"))


def _one_record(record: Record, variable: Var, names: Mapping[Var, str]) -> Expression:
    value = atom(names[variable])
    shape = tuple(array_shape(variable))
    if record.order is not None:
        value = method(value, "transpose", *map(str, record.order))
        shape = tuple(shape[axis] for axis in record.order)
    if record.crop is not None:
        if shape != record.crop.shape:
            value = method(value, "reshape", *map(str, record.crop.shape))
        value = cropped(value, record.crop, lead=0)
        shape = tuple(len(range(*bounds)) for bounds in record.crop.slices)
    if shape == record.shape:
        return value
    if shape == (1, *record.shape):
        if value.text.endswith("[None]"):
            return atom(value.text.removesuffix("[None]"))
        return Expression(text=f"{value.text}[0]")
    return (
        method(value, "reshape", *map(str, record.shape))
        if record.shape
        else method(value, "reshape", "()")
    )


def cropped(value: Expression, crop: Crop, *, lead: int) -> Expression:
    """Takes the part of an array that a crop says, after some leading axes."""
    items = [":"] * lead
    for size, (start, stop, step) in zip(crop.shape, crop.slices, strict=True):
        if (start, stop, step) == (0, size, 1):
            items.append(":")
            continue
        text = f"{start or ''}:{stop if stop < size else ''}"
        items.append(text if step == 1 else f"{text}:{step}")
    while items and items[-1] == ":":
        items.pop()
    return subscript(value, *items) if items else value
