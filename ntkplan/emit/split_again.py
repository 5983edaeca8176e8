"""Statements in which names have changed, put on lines anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from ntkplan.emit.expression import INDENT, atom, statement

_OPENING, _CLOSING = "([{", ")]}"


def split_again(lines: Sequence[str], width: int) -> list[str] | None:
    """Splits a statement anew; None for what neither assigns nor returns."""
    text = joined(lines)
    found = re.match(r"(return |[\w.\[\]\", ]+ (?:\+|\|)?= )", text)
    if found is None:
        return None
    value = without_parentheses(text[found.end() :])
    return statement(found[0], atom(value), width)


def joined(lines: Sequence[str]) -> str:
    r"""Returns a statement on one line.

    Example:
        >>> joined(["h = f(", "    x,", "    y,", ")"])
        'h = f(x, y)'
    """
    text = lines[0]
    for line in lines[1:]:
        line = line.removeprefix(INDENT).strip()
        if line[0] in _CLOSING:
            text = text.removesuffix(",")
        elif text[-1] not in _OPENING:
            text += " "
        text += line
    return text


def without_parentheses(value: str) -> str:
    """Drops brackets around all of an expression, which only kept lines together."""
    if not value.startswith("("):
        return value
    inner = value[1:-1]
    try:
        same = ast.dump(ast.parse(inner, mode="eval")) == ast.dump(
            ast.parse(value, mode="eval")
        )
    except SyntaxError:
        return value
    return inner if same and "," not in _outermost(inner) else value


def _outermost(text: str) -> str:
    """Returns a text without what stands in brackets."""
    depth, kept = 0, ""
    for letter in text:
        depth += (letter in _OPENING) - (letter in _CLOSING)
        kept += letter if depth == 0 else ""
    return kept
