"""Dictionaries of zeros, which are added to what is differentiated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ntkplan.emit.expression import Expression, atom, call, sequence, statement
from ntkplan.emit.names import free
from ntkplan.ir.program import Part, Tap

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


def zeros(prefix: str, taps: Sequence[Tap], parts: Sequence[Part] = ()) -> list[str]:
    """Prints a dictionary of zeros, one array for every tap.

    The taps of a part of the model are a dictionary in it; where those of several parts
    are the same zeros, it is written once.

    Args:
        prefix: What stands before the dictionary.
        taps: The taps.
        parts: Parts of the model, in some of which taps may lie.
    """
    outside = [(tap.key, _zeros(tap)) for tap in taps if not tap.part]
    own = {
        part.key: dictionary(
            [(tap.key, _zeros(tap)) for tap in taps if tap.part == part.key]
        )
        for part in parts
        if any(tap.part == part.key for tap in taps)
    }
    count = Counter(value.text for value in own.values())
    lines: list[str] = []
    known: dict[str, str] = {}
    for part in parts:
        value = own.get(part.key)
        if value is not None and count[value.text] > 1 and value.text not in known:
            known[value.text] = free(f"{part.function}_zeros", known.values())
            lines += statement(f"{known[value.text]} = ", value, WIDTH)
    entries = [
        (key, atom(known[value.text]) if value.text in known else value)
        for key, value in own.items()
    ]
    whole = dictionary([*outside, *entries])
    return [*lines, *statement(prefix, whole, WIDTH)]


def _zeros(tap: Tap) -> Expression:
    return call("jnp.zeros", _shape(tap.shape), atom(f"jnp.{tap.dtype}"))


def _shape(shape: Sequence[int]) -> Expression:
    if len(shape) == 1:
        return atom(str(shape[0]))
    return sequence([str(size) for size in shape])
