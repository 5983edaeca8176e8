"""From what is pulled back to the taps to the cotangents that blocks are given."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    method,
    statement,
)
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.marks import own
from ntkplan.emit.names import free
from ntkplan.emit.output_basis import group_sizes
from ntkplan.emit.record_table import cropped
from ntkplan.emit.taps import dictionary
from ntkplan.ir.program import Cotangent, Program


def cotangent_lines(program: Program) -> list[str]:
    """Prints `cotangents = {...}`, with one axis for each label, uses stacked.

    What is done to the cotangents of several parts of the model alike is a function.
    """
    tables = {
        part.key: dictionary(
            [
                (item.key, _value(program, item, local=True))
                for item in own(program.cotangents, part.key)
            ]
        )
        for part in program.parts
        if own(program.cotangents, part.key)
    }
    lines: list[str] = []
    functions: dict[str, str] = {}
    entries = [
        (item.key, _value(program, item, local=False))
        for item in own(program.cotangents, "")
    ]
    for part in program.parts:
        table = tables.get(part.key)
        if table is None:
            continue
        if is_whole(program, part.key):
            entries.append((part.key, atom(f'cotangents["{part.key}"]')))
            continue
        if table.text not in functions:
            name = free(f"{part.function}_cotangents", functions.values())
            functions[table.text] = name
            body = statement("return ", table, WIDTH - len(INDENT))
            lines += [f"def {name}(cotangents):", *(INDENT + line for line in body), ""]
        value = call(functions[table.text], atom(f'cotangents["{part.key}"]'))
        entries.append((part.key, value))
    lines = [""] * bool(lines) + lines
    return [*lines, *statement("cotangents = ", dictionary(entries), WIDTH)]


def all_plain(program: Program) -> bool:
    """Says whether what is pulled back to the taps is what the blocks are given."""
    return all(is_whole(program, part) for part in ("", *_parts(program)))


def is_whole(program: Program, part: str) -> bool:
    """Says the same of one part, or with an empty key of what lies in none."""
    shapes = {tap.key: tap.shape for tap in own(program.taps, part)}
    cotangents = own(program.cotangents, part)
    return len(cotangents) == len(shapes) and all(
        item.taps == ((part, item.key),)
        and item.crop is None
        and shapes[item.key] == item.shape
        for item in cotangents
    )


def _parts(program: Program) -> list[str]:
    return [part.key for part in program.parts]


def _value(program: Program, item: Cotangent, *, local: bool) -> Expression:
    """Prints one array.

    Args:
        program: The program.
        item: Which array.
        local: Whether `cotangents` are those of the array's part alone.
    """
    lead = [-1] if program.tiles_outputs else group_sizes(program.spec)
    shapes = {tap.place: tap.shape for tap in program.taps}
    parts: list[Expression] = []
    for place in item.taps:
        shape = shapes[place]
        within = f'["{place[0]}"]' if place[0] and not local else ""
        part = atom(f'cotangents{within}["{place[1]}"]')
        if place in program.tangents:
            part = _in_basis(program, place[1], shape)
        if item.crop is not None:
            if shape != item.crop.shape:
                part = method(part, "reshape", *map(str, (*lead, *item.crop.shape)))
            part = cropped(part, item.crop, lead=len(lead))
            shape = tuple(len(range(*bounds)) for bounds in item.crop.slices)
        if shape != item.shape:
            part = method(part, "reshape", *map(str, (*lead, *item.shape)))
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    stacked = bracketed(parts, brackets="[]")
    return call("jnp.stack", stacked, atom(f"axis={len(lead)}"))


def _in_basis(program: Program, key: str, shape: Sequence[int]) -> Expression:
    """Returns a leaf's Jacobian, its outputs grouped as those of cotangents are."""
    spec, value = program.spec, atom(f'jacobians["{key}"]')
    if program.tiles_outputs:
        return call("jnp.tensordot", atom("basis"), value, atom("1"))
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    sizes = group_sizes(spec)
    if len(sizes) == 1 and list(order) == sorted(order):
        return value
    value = method(value, "reshape", *map(str, (*spec.output_shape, *shape)))
    if list(order) != sorted(order):
        rest = range(len(order), len(order) + len(shape))
        value = method(value, "transpose", *map(str, (*order, *rest)))
    return method(value, "reshape", *map(str, (*sizes, *shape)))
