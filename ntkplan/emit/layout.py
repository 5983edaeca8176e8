"""Lines of a long statement, split where `ruff format` splits it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ntkplan.emit.pieces import (
    Brackets,
    Calls,
    Chain,
    Parts,
    Reader,
    flat,
    head,
    together,
    without_chains,
)
from ntkplan.errors import InternalError

INDENT = "    "

LINE_WIDTH = 88
"""Columns of a line."""

WIDTH = LINE_WIDTH - len(INDENT)
"""Columns that a statement in a function's body may have."""


def split(prefix: str, text: str, width: int) -> list[str] | None:
    """Returns the lines of a statement that is too long for one.

    Args:
        prefix: What stands before the expression, `name = ` or `return `.
        text: The expression.
        width: Columns that a line may have.

    Returns:
        The lines, or None where the text is not an expression.

    Raises:
        InternalError: What is split would mean something else.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    reader = Reader(text)
    parts = reader.parts(tree)
    printer = _Printer(width)
    start, _ = head(without_chains(parts))
    if reader.needs_parentheses(tree) or len(prefix + start) > width:
        parts = (Brackets(opening="(", items=(parts,), closing=")", comma=False),)
    printer.put(prefix)
    printer.lay(parts, "", "")
    printer.end()
    value = "\n".join(printer.lines).removeprefix(prefix.rstrip())
    laid = ast.parse(f"({value})", mode="eval").body
    if ast.dump(laid) != ast.dump(tree):
        raise InternalError("a statement is another one once it is split", text)
    return printer.lines


def split_target(target: str, width: int) -> list[str] | None:
    """Returns the lines of what a tuple is unpacked to, a name or a tuple on each.

    Args:
        target: What stands left of the equals sign.
        width: Columns that a line may have.

    Returns:
        The lines, brackets around them, or None where it is no tuple of several.

    Example:
        >>> split_target("h0, (a, b)", 12)
        ['(', '    h0,', '    (a, b),', ')']
    """
    text = f"({target})"
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(tree, ast.Tuple) or len(tree.elts) < 2:
        return None
    printer = _Printer(width)
    for part in Reader(text).parts(tree):
        if isinstance(part, Brackets):
            printer.lay_brackets(part, "")
    printer.end()
    return printer.lines


class _Printer:
    """Puts parts on lines, splitting the first brackets where a line gets too long."""

    def __init__(self, width: int) -> None:
        self.lines: list[str] = []
        self._width = width
        self._line = ""

    def put(self, text: str) -> None:
        """Appends text to the current line."""
        self._line += text

    def end(self) -> None:
        """Ends the current line."""
        self.lines.append(self._line)
        self._line = ""

    def lay(self, parts: Parts, indent: str, tail: str) -> None:
        """Appends parts.

        Args:
            parts: What to print.
            indent: Of the lines after the first.
            tail: What follows on the last line.
        """
        pieces = without_chains(parts)
        for number, piece in enumerate(pieces):
            if isinstance(piece, str):
                self.put(piece)
            elif self._fits(flat((piece,)), pieces[number + 1 :], tail):
                self.put(flat((piece,)))
            else:
                self.lay_brackets(piece, indent)

    def _fits(self, text: str, rest: Sequence[str | Brackets], tail: str) -> bool:
        """Whether a piece fits with all that follows it up to the next brackets."""
        following, splits = head(rest)
        end = "" if splits else tail
        return len(self._line + text + following + end) <= self._width

    def lay_brackets(self, part: Brackets, indent: str) -> None:
        """Appends brackets, split."""
        self.put(part.opening)
        self.end()
        inner = indent + INDENT
        inside = together(part)
        if not part.each and len(inner + inside) <= self._width:
            self.put(inner + inside)
            self.end()
        else:
            comma = "," if part.comma else ""
            for item in part.items:
                self.put(inner)
                self._lay_item(item, inner, comma)
                self.put(comma)
                self.end()
        self.put(indent + part.closing)

    def _lay_item(self, item: Parts, indent: str, tail: str) -> None:
        """What stands alone in brackets is split at its operators first."""
        only = item[0] if len(item) == 1 else None
        too_long = len(self._line + flat(item) + tail) > self._width
        if isinstance(item[-1], Calls) and too_long:
            self.lay((*item[:-1], *item[-1].links[0]), indent, "")
            for link in item[-1].links[1:]:
                self.end()
                self.put(indent)
                self.lay(link, indent, tail)
            return
        if not isinstance(only, Chain) or not only.operators or not too_long:
            self.lay(item, indent, tail)
            return
        self._lay_item(only.operands[0], indent, "")
        for symbol, operand in zip(only.operators, only.operands[1:], strict=True):
            self.end()
            self.put(f"{indent}{symbol} ")
            self._lay_item(operand, indent, tail)
