"""Texts of comments and docstrings, folded where a reader can bear it."""

from __future__ import annotations

import re
import textwrap

_GLUE = "\N{NO-BREAK SPACE}"
_UNITS = "s|ms|us|ns|min|h|[kMGTPE]?flop|leaves|leaf|parts|examples|outputs"
_QUANTITY = re.compile(rf"(?<=\d) (?=(?:{_UNITS})\b)")
_ORDER = re.compile(r"(?<![\w(])\(*[A-Z][12](?:[() ]+[A-Z][12])+\)*(?!\w)")


def wrapped(text: str, width: int) -> list[str]:
    """Folds a text.

    Numbers stay with their units, and an order of contraction stays whole; a word that
    is longer than a line is a path, and ends at a slash.

    Args:
        text: One paragraph.
        width: Letters of a line.

    Example:
        >>> wrapped("as C1 ((A1 A2) C2), in 4.75 us", 26)
        ['as C1 ((A1 A2) C2), in', '4.75 us']
    """
    glued = _ORDER.sub(lambda found: found[0].replace(" ", _GLUE), text)
    glued = _QUANTITY.sub(_GLUE, glued)
    words = [piece for word in glued.split(" ") for piece in _pieces(word, width)]
    lines = textwrap.wrap(
        " ".join(words), width, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_GLUE, " ") for line in lines]


def _pieces(word: str, width: int) -> list[str]:
    """Splits a word that is too long behind slashes."""
    pieces = [""]
    for part in re.findall(r"[^/]*/|[^/]+$", word) if len(word) > width else [word]:
        if pieces[-1] and len(pieces[-1] + part) > width:
            pieces.append("")
        pieces[-1] += part
    return pieces
