"""The lines that say what the letters in a module's comments stand for, once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ntkplan.emit.layout import INDENT, WIDTH
from ntkplan.emit.wrapping import wrapped

_ARRAY = re.compile(r"(?<![\w\"'])([ACK])[12](?!\w)")
_KERNEL_AT_CUT = re.compile(r"(?<=[( ])H(?=[) ])")
_REMARK = re.compile(r'\s*(?:#|""")')
_UNPACKED = re.compile(r"\s+\S.* = side[12](?:, side2)?")
_DEFINED = re.compile(r"def \w+\(")

_ARRAYS = {
    "A": "activations",
    "C": "cotangents",
    "K": "factors such as scales or slopes",
}
_CUT = "H: the kernel of the values at the cut, Theta_cut; G: the cotangents of these"
_LATER = "tapped later: with cotangents of a sum behind the layer"


def with_legend(text: str) -> str:
    """Returns functions with an explanation of the letters in what is said of them.

    It stands in the first function that has such letters, above what unpacks the
    arrays they stand for.

    Args:
        text: Functions as printed.
    """
    lines = text.splitlines()
    remarks = _remarks(lines)
    said = " ".join(remarks.values())
    if _letters(said) == "" and not _KERNEL_AT_CUT.search(said):
        return text
    first = min(number for number, own in remarks.items() if _letters(own))
    start = max(n for n in range(first + 1) if _DEFINED.match(lines[n]))
    after = next(
        (n for n in range(start + 1, len(lines)) if _DEFINED.match(lines[n])),
        len(lines),
    )
    unpacked = [n for n in range(start, after) if _UNPACKED.fullmatch(lines[n])]
    place = unpacked[0] if unpacked else _body(lines, start)
    legend = [f"{INDENT}# {line}" for line in wrapped(_legend(said), WIDTH - 2)]
    return "\n".join([*lines[:place], *legend, *lines[place:]])


def _remarks(lines: Sequence[str]) -> dict[int, str]:
    """Returns comments and docstrings by the numbers of their lines."""
    found: dict[int, str] = {}
    within = False
    for number, line in enumerate(lines):
        if within or _REMARK.match(line):
            found[number] = line.strip(' #"')
        if line.count('"""') == 1:
            within = not within
    return found


def _letters(said: str) -> str:
    return "".join(sorted(set(_ARRAY.findall(said))))


def _body(lines: Sequence[str], start: int) -> int:
    """Returns where the statements of a function begin, behind its docstring."""
    opening = next(n for n in range(start, len(lines)) if '"""' in lines[n])
    if lines[opening].count('"""') > 1:
        return opening + 1
    return 1 + next(n for n in range(opening + 1, len(lines)) if '"""' in lines[n])


def _legend(said: str) -> str:
    entries = [
        f"{letter}1, {letter}2: {_ARRAYS[letter]}{' of x1 and x2' * (number == 0)}"
        for number, letter in enumerate(_letters(said))
    ]
    entries += [_CUT] * bool(_KERNEL_AT_CUT.search(said))
    entries += [_LATER] * ("tapped later" in said)
    return f"{'; '.join(entries)}."
