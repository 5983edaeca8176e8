"""What follows upon itself, or counts up, in lists and dictionaries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ntkplan.emit.numbering import LEAST, range_text

_NUMBERED = re.compile(r"(|.*\D)(\d+)(\D*)")


def repeats(items: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Finds what follows upon itself: `(start, period, count)` of all parts, in order.

    Example:
        >>> repeats(["a", "b", "c", "b", "c", "d", "d"])
        [(0, 1, 1), (1, 2, 2), (5, 1, 2)]
    """
    found: list[tuple[int, int, int]] = []
    start = 0
    while start < len(items):
        best = (1, 1)
        for period in range(1, (len(items) - start) // 2 + 1):
            pattern = items[start : start + period]
            count = 1
            while items[start + count * period :][:period] == pattern:
                count += 1
            if count > 1 and period * count > best[0] * best[1]:
                best = (period, count)
        period, count = best
        found.append((start, period, count))
        start += period * count
    return found


def numbered_runs(
    node: Mapping[Any, Any],
) -> dict[Any, tuple[tuple[Any, ...], str, str]]:
    """Finds keys that count from a number on, with values alike.

    Returns:
        By the first key of each run all of its keys, and Python texts: of the key, `i`
        or a format string in it, and of the range of `i`.

    Example:
        >>> numbered_runs({"h0": 1, "h1": 1, "h2": 1, "w": 2})
        {'h0': (('h0', 'h1', 'h2'), 'f"h{i}"', 'range(3)')}
        >>> numbered_runs({0: 1, 1: 1, 2: 1})
        {0: ((0, 1, 2), 'i', 'range(3)')}
    """
    groups: dict[tuple[str, str] | None, list[tuple[int, Any]]] = {}
    for key in node:
        if type(key) is int:
            groups.setdefault(None, []).append((key, key))
        match = _NUMBERED.fullmatch(key) if isinstance(key, str) else None
        braces = isinstance(key, str) and any(letter in key for letter in '{}"\\')
        if match and str(int(match[2])) == match[2] and not braces:
            groups.setdefault((match[1], match[3]), []).append((int(match[2]), key))
    found: dict[Any, tuple[tuple[Any, ...], str, str]] = {}
    for around, members in groups.items():
        members.sort()
        values = [node[key] for _, key in members]
        for start, period, count in repeats(values):
            numbers = [number for number, _ in members[start : start + count]]
            first, last = numbers[0], numbers[-1]
            if period > 1 or count < LEAST or last - first + 1 != count:
                continue
            keys = tuple(key for _, key in members[start : start + count])
            name = 'f"{}{{i}}{}"'.format(*around) if around else "i"
            found[keys[0]] = (keys, name, range_text(first, count))
    return found
