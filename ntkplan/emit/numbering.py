"""Texts that count up, such as keys of equal parts, as one text with a number in it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from ntkplan.emit.expression import INDENT, indented
from ntkplan.emit.taps import WIDTH

_SKIP = "  # fmt: skip"

LEAST = 3
"""How many texts must count up for a loop over numbers to be clearer than a list."""


def counting(texts: Sequence[str]) -> tuple[str, int] | None:
    """Returns what counts up as a format text in `i`, and the first number.

    Args:
        texts: Texts in which at most one number differs.

    Returns:
        None where the texts differ in more, or do not count up by one.

    Example:
        >>> counting(["blocks_4", "blocks_5", "blocks_6"])
        ('blocks_{i}', 4)
    """
    pieces = [re.split(r"(\d+)", text) for text in texts]
    if len({len(each) for each in pieces}) > 1:
        return None
    columns = list(zip(*pieces, strict=True))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or not varying[0] % 2:
        return None
    numbers = [int(text) for text in columns[varying[0]]]
    spelled = [str(number) for number in numbers] == list(columns[varying[0]])
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    if steps != {1} or not spelled or "{" in texts[0] or "}" in texts[0]:
        return None
    first = list(pieces[0])
    first[varying[0]] = "{i}"
    return "".join(first), numbers[0]


def range_text(start: int, count: int) -> str:
    """Returns Python text for so many numbers from one on.

    Example:
        >>> range_text(0, 12), range_text(1, 3)
        ('range(12)', 'range(1, 4)')
    """
    return f"range({count})" if start == 0 else f"range({start}, {start + count})"


def for_each(
    name: str, keys: Sequence[str], body: Callable[[str], Sequence[str]]
) -> list[str]:
    """Prints statements for every one of some keys.

    Args:
        name: The variable that holds a key, where they do not count up.
        keys: The keys.
        body: Makes the statements, given Python text for a key.

    Example:
        >>> for_each("key", ["a_1", "a_2", "a_3"], lambda key: [f"print({key})"])
        ['for i in range(1, 4):', '    print(f"a_{i}")']
    """
    if len(keys) == 1:
        return list(body(f'"{keys[0]}"'))
    found = counting(keys) if len(keys) >= LEAST else None
    if found is not None:
        template, start = found
        head = [f"for i in {range_text(start, len(keys))}:"]
        return [*head, *indented(body(f'f"{template}"'))]
    return [*_head(name, keys), *indented(body(name))]


def _head(name: str, keys: Sequence[str]) -> list[str]:
    """Prints the head of a loop; a long one is packed, and formatters leave it."""
    texts = [f'"{key}"' for key in keys]
    lines = [f"for {name} in ("]
    for text, after in zip(texts, [", "] * (len(texts) - 1) + ["):"], strict=True):
        if len(lines[-1]) + len(text) + len(after) > WIDTH:
            lines[-1] = lines[-1].rstrip()
            lines.append(INDENT * 2)
        lines[-1] += text + after
    if len(lines) == 1:
        return lines
    if len(lines[-1]) + len(_SKIP) > WIDTH:
        *before, last = lines[-1].rpartition(" ")
        lines[-1:] = ["".join(before).rstrip(), f"{INDENT * 2}{last}"]
    return [*lines[:-1], lines[-1] + _SKIP]
