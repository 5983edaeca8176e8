"""Dictionaries of zeros, which are added to what is differentiated."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import Expression, atom, call, sequence, statement
from ntkplan.emit.layout import INDENT, WIDTH
from ntkplan.ir.program import Tap


def dictionary(entries: Sequence[tuple[str, Expression]]) -> Expression:
    """Returns a dictionary with string keys, split over lines where it must be."""
    items = [_item(key, value) for key, value in entries]
    return Expression(
        text="{" + ", ".join(item.text for item in items) + "}",
        opening="{",
        items=tuple(items),
        closing="}",
        collection=True,
    )


def _item(key: str, value: Expression) -> Expression:
    """Returns an entry; a value for which no room is left gets lines of its own."""
    start = f'"{key}": '
    if len(start + (value.opening or value.text)) > WIDTH - len(INDENT):
        return Expression(text=f"{start}({value.text})")
    return Expression(
        text=f"{start}{value.text}",
        opening=f"{start}{value.opening}" if value.opening else "",
        items=value.items,
        closing=value.closing,
        collection=value.collection,
    )


def zeros(prefix: str, taps: Sequence[Tap]) -> list[str]:
    """Prints a dictionary of zeros, one array for every tap, behind a prefix."""
    entries = [
        (tap.key, call("jnp.zeros", _shape(tap.shape), atom(f"jnp.{tap.dtype}")))
        for tap in taps
    ]
    return statement(prefix, dictionary(entries), WIDTH)


def _shape(shape: Sequence[int]) -> Expression:
    if len(shape) == 1:
        return atom(str(shape[0]))
    return sequence([str(size) for size in shape])
