"""Dictionaries of zeros, which are added to what is differentiated."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import Expression, atom, call, sequence, statement
from ntkplan.ir.program import Tap

WIDTH = 84
"""Columns that a statement in a function's body may have."""


def dictionary(entries: Sequence[tuple[str, Expression]]) -> Expression:
    """Returns a dictionary with string keys, split over lines where it must be."""
    items = [
        Expression(
            text=f'"{key}": {value.text}',
            opening=f'"{key}": {value.opening}' if value.opening else "",
            items=value.items,
            closing=value.closing,
            collection=value.collection,
        )
        for key, value in entries
    ]
    return Expression(
        text="{" + ", ".join(item.text for item in items) + "}",
        opening="{",
        items=tuple(items),
        closing="}",
        collection=True,
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
