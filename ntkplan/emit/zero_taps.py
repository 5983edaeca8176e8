"""The emitted functions that return zeros for `forward` to add to its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ntkplan.emit.expression import INDENT, indented
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.shape_table import Table
from ntkplan.emit.table_text import table_lines
from ntkplan.emit.taps import zeros
from ntkplan.ir.program import Part, Program, Tap

_MOST_ARRAYS = 12

ZERO_FUNCTIONS = ("zero_taps", "zero_tangents", "zero_shifts")
"""What the functions are called; a module has those that it needs."""


def zero_functions(program: Program) -> list[str]:
    """Prints a function for the taps, for those made by tangents, and for the shifts.

    Each stands alone, so that whoever calls `forward` knows nothing of its keys.
    """
    pulled = [tap for tap in program.taps if tap.place not in program.tangents]
    pushed = [tap for tap in program.taps if tap.place in program.tangents]
    tables: list[tuple[str, Sequence[Tap], str]] = [
        (ZERO_FUNCTIONS[0], pulled, "values of"),
        (ZERO_FUNCTIONS[1], pushed, "leaves in"),
        (ZERO_FUNCTIONS[2], program.shifts, "leaves in"),
    ]
    return [
        "\n\n" + "\n".join(_function(name, taps, what, program.parts))
        for name, taps, what in tables
        if taps
    ]


def zero_taps(program: Program) -> str:
    """Returns Python text for the zeros of all taps."""
    calls = []
    if any(tap.place not in program.tangents for tap in program.taps):
        calls.append(f"{ZERO_FUNCTIONS[0]}()")
    if program.tangents:
        calls.append(f"{ZERO_FUNCTIONS[1]}()")
    return " | ".join(calls)


def _function(
    name: str, taps: Sequence[Tap], what: str, parts: Sequence[Part]
) -> list[str]:
    lines = zeros("return ", taps)
    if len(taps) > _MOST_ARRAYS or any(tap.part for tap in taps):
        lines = _table(taps, parts)
    if lines[0].startswith("def "):
        lines.insert(0, "")
    return [
        f"def {name}():",
        f'{INDENT}"""Zeros to add to {what} the forward pass."""',
        *indented(lines),
    ]


def _table(taps: Sequence[Tap], parts: Sequence[Part]) -> list[str]:
    """Prints a table of shapes, which may have trees in it, and makes arrays of it."""
    dtypes = sorted({tap.dtype for tap in taps})
    made = "jnp.zeros(*spec) for spec in specs"
    if len(dtypes) == 1:
        made = f"jnp.zeros(spec, jnp.{dtypes[0]}) for spec in specs"
    leaf = "lambda x: isinstance(x, tuple)"

    def spec(tap: Tap) -> Any:
        return tap.shape if len(dtypes) == 1 else (tap.shape, tap.dtype)

    tree: dict[str, Any] = {tap.key: spec(tap) for tap in taps if not tap.part}
    for part in parts:
        own = {tap.key: spec(tap) for tap in taps if tap.part == part.key}
        tree |= {part.key: own} if own else {}
    return [
        *table_lines(Table(tree=tree, flat=False), "shapes", WIDTH),
        f"specs, tree = jax.tree.flatten(shapes, is_leaf={leaf})",
        f"return tree.unflatten([{made}])",
    ]
