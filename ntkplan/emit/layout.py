"""Lines of a long statement, split where `ruff format` splits it.

A statement is read back as Python, so that it makes no difference how its text was
put together.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Sequence

from ntkplan.errors import InternalError

INDENT = "    "

LINE_WIDTH = 88
"""Columns of a line."""

WIDTH = LINE_WIDTH - len(INDENT)
"""Columns that a statement in a function's body may have."""

_OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Pow: ("**", 1),
    ast.Mult: ("*", 2),
    ast.Div: ("/", 2),
    ast.FloorDiv: ("//", 2),
    ast.Mod: ("%", 2),
    ast.MatMult: ("@", 2),
    ast.Add: ("+", 3),
    ast.Sub: ("-", 3),
    ast.LShift: ("<<", 4),
    ast.RShift: (">>", 4),
    ast.BitAnd: ("&", 5),
    ast.BitXor: ("^", 6),
    ast.BitOr: ("|", 7),
    ast.Eq: ("==", 8),
    ast.NotEq: ("!=", 8),
    ast.Lt: ("<", 8),
    ast.LtE: ("<=", 8),
    ast.Gt: (">", 8),
    ast.GtE: (">=", 8),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Brackets:
    """Something in brackets, which may be split there.

    Attributes:
        opening: The bracket.
        items: What stands between commas.
        closing: The other bracket.
        each: Whether every item gets a line, as in a tuple; a call's arguments stay
            together on one line if they fit.
        comma: Whether a comma may follow the last item.
    """

    opening: str
    items: tuple[_Parts, ...]
    closing: str
    each: bool = False
    comma: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Chain:
    """Operands of one precedence, with the operators between them."""

    operands: tuple[_Parts, ...]
    operators: tuple[str, ...]


_Parts = tuple[str | _Brackets | _Chain, ...]


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
    reader = _Reader(text)
    parts = reader.parts(tree)
    printer = _Printer(width)
    start, _ = _head(_without_chains(parts))
    if reader.needs_parentheses(tree) or len(prefix + start) > width:
        parts = (_Brackets(opening="(", items=(parts,), closing=")", comma=False),)
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
    for part in _Reader(text).parts(tree):
        if isinstance(part, _Brackets):
            printer.lay_brackets(part, "")
    printer.end()
    return printer.lines


class _Reader:
    """Makes parts out of syntax."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bytes = text.encode()

    def parts(self, node: ast.expr) -> _Parts:
        """Returns an expression in the pieces between which it may be split."""
        match node:
            case ast.Call():
                items = [self.parts(item) for item in node.args]
                items += [self._keyword(item) for item in node.keywords]
                return (*self._within(node.func), self._brackets("(", items, ")"))
            case ast.Subscript():
                index = self.parts(node.slice)
                if isinstance(node.slice, ast.Tuple) and not self._is_bracketed(
                    node.slice
                ):
                    items = [self.parts(item) for item in node.slice.elts]
                    return (*self._within(node.value), self._brackets("[", items, "]"))
                brackets = _Brackets(
                    opening="[", items=(index,), closing="]", comma=False
                )
                return (*self._within(node.value), brackets)
            case ast.Attribute():
                return (*self._within(node.value), f".{node.attr}")
            case ast.BinOp() | ast.Compare():
                return (self._chain(node),)
            case ast.UnaryOp():
                source = self._source(node)
                return (source[0], *self._within(node.operand))
            case ast.Tuple() | ast.List():
                opening, closing = "[]" if isinstance(node, ast.List) else "()"
                items = [self.parts(item) for item in node.elts]
                return (self._brackets(opening, items, closing, each=True),)
            case ast.Dict():
                items = [
                    (f"{self._source(key)}: " if key else "**", *self._within(value))
                    for key, value in zip(node.keys, node.values, strict=True)
                ]
                return (self._brackets("{", items, "}", each=True),)
            case _:
                return (self._source(node),)

    def needs_parentheses(self, node: ast.expr) -> bool:
        """Returns whether an expression is put into brackets to be split."""
        if not isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp):
            return isinstance(node, ast.Name | ast.Constant)
        if isinstance(node, ast.UnaryOp):
            _, splits = _head(_without_chains(self.parts(node)))
            return not splits
        count = _count(node, self._is_bracketed)
        ends = (
            _leftmost(node, self._is_bracketed),
            _rightmost(node, self._is_bracketed),
        )
        return count > 1 or not any(
            self._is_bracketed(end) or _has_brackets(end) for end in ends
        )

    def _brackets(
        self, opening: str, items: Sequence[_Parts], closing: str, *, each: bool = False
    ) -> _Brackets | str:
        if not items:
            return opening + closing
        return _Brackets(
            opening=opening, items=tuple(items), closing=closing, each=each
        )

    def _keyword(self, item: ast.keyword) -> _Parts:
        head = "**" if item.arg is None else f"{item.arg}="
        return (head, *self.parts(item.value))

    def _within(self, node: ast.expr) -> _Parts:
        """An operand or a receiver, with the brackets around it."""
        parts = self.parts(node)
        if not self._is_bracketed(node) or isinstance(node, ast.Tuple):
            return parts
        return (_Brackets(opening="(", items=(parts,), closing=")", comma=False),)

    def _chain(self, node: ast.BinOp | ast.Compare) -> _Chain:
        if isinstance(node, ast.Compare):
            operators = [_OPERATORS[type(item)][0] for item in node.ops]
            operands = [self._within(item) for item in (node.left, *node.comparators)]
            return _Chain(operands=tuple(operands), operators=tuple(operators))
        symbol, rank = _OPERATORS[type(node.op)]
        left = node.left
        same = isinstance(left, ast.BinOp) and _OPERATORS[type(left.op)][1] == rank
        if symbol == "**" and f" {symbol} " not in self._between(node):
            return _Chain(operands=((self._source(node),),), operators=())
        if same and isinstance(left, ast.BinOp) and not self._is_bracketed(left):
            chain = self._chain(left)
            return _Chain(
                operands=(*chain.operands, self._within(node.right)),
                operators=(*chain.operators, symbol),
            )
        operands = (self._within(left), self._within(node.right))
        return _Chain(operands=operands, operators=(symbol,))

    def _between(self, node: ast.BinOp) -> str:
        start, end = node.left.end_col_offset, node.right.col_offset
        return self._bytes[start:end].decode()

    def _source(self, node: ast.expr) -> str:
        return self._bytes[node.col_offset : node.end_col_offset].decode()

    def _is_bracketed(self, node: ast.expr) -> bool:
        """Whether brackets of its own stand around an operand."""
        before = self._bytes[: node.col_offset].decode().rstrip()[-1:]
        after = self._bytes[node.end_col_offset :].decode().lstrip()[:1]
        return before == "(" and after == ")"


def _has_brackets(node: ast.expr) -> bool:
    """Whether an expression ends in brackets worth splitting: not an index's."""
    match node:
        case ast.Call():
            return bool(node.args or node.keywords)
        case ast.Tuple() | ast.List():
            return bool(node.elts)
        case _:
            return False


def _count(node: ast.expr, is_bracketed: Callable[[ast.expr], bool]) -> int:
    """How many operators of the loosest precedence stand outside of brackets."""
    ranks: list[int] = []

    def visit(item: ast.expr) -> None:
        if item is not node and is_bracketed(item):
            return
        match item:
            case ast.BinOp():
                ranks.append(_OPERATORS[type(item.op)][1])
                visit(item.left)
                visit(item.right)
            case ast.Compare():
                ranks.extend(_OPERATORS[type(op)][1] for op in item.ops)
                for operand in (item.left, *item.comparators):
                    visit(operand)
            case ast.UnaryOp():
                visit(item.operand)

    visit(node)
    return ranks.count(max(ranks, default=0))


def _leftmost(node: ast.expr, is_bracketed: Callable[[ast.expr], bool]) -> ast.expr:
    """The first operand, as far as no brackets stand around it."""
    while isinstance(node, ast.BinOp | ast.Compare):
        node = node.left
        if is_bracketed(node):
            break
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        inner = node.func if isinstance(node, ast.Call) else node.value
        node = inner
        if is_bracketed(node):
            break
    return node


def _rightmost(node: ast.expr, is_bracketed: Callable[[ast.expr], bool]) -> ast.expr:
    """The last operand, as far as no brackets stand around it."""
    while isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp):
        match node:
            case ast.BinOp():
                node = node.right
            case ast.Compare():
                node = node.comparators[-1]
            case _:
                node = node.operand
        if is_bracketed(node):
            break
    return node


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

    def lay(self, parts: _Parts, indent: str, tail: str) -> None:
        """Appends parts.

        Args:
            parts: What to print.
            indent: Of the lines after the first.
            tail: What follows on the last line.
        """
        pieces = _without_chains(parts)
        for number, piece in enumerate(pieces):
            if isinstance(piece, str):
                self.put(piece)
            elif self._fits(_flat((piece,)), pieces[number + 1 :], tail):
                self.put(_flat((piece,)))
            else:
                self.lay_brackets(piece, indent)

    def _fits(self, text: str, rest: Sequence[str | _Brackets], tail: str) -> bool:
        """Whether a piece fits with all that follows it up to the next brackets."""
        following, splits = _head(rest)
        end = "" if splits else tail
        return len(self._line + text + following + end) <= self._width

    def lay_brackets(self, part: _Brackets, indent: str) -> None:
        """Appends brackets, split."""
        self.put(part.opening)
        self.end()
        inner = indent + INDENT
        together = ", ".join(map(_flat, part.items))
        if not part.each and len(inner + together) <= self._width:
            self.put(inner + together)
            self.end()
        else:
            comma = "," if part.comma else ""
            for item in part.items:
                self.put(inner)
                self._lay_item(item, inner, comma)
                self.put(comma)
                self.end()
        self.put(indent + part.closing)

    def _lay_item(self, item: _Parts, indent: str, tail: str) -> None:
        """What stands alone in brackets is split at its operators first."""
        (only,) = item if len(item) == 1 else (None,)
        too_long = len(self._line + _flat(item) + tail) > self._width
        if not isinstance(only, _Chain) or not only.operators or not too_long:
            self.lay(item, indent, tail)
            return
        self._lay_item(only.operands[0], indent, "")
        for symbol, operand in zip(only.operators, only.operands[1:], strict=True):
            self.end()
            self.put(f"{indent}{symbol} ")
            self._lay_item(operand, indent, tail)


def _without_chains(parts: _Parts) -> list[str | _Brackets]:
    """Parts with their operators as text: no line ends there outside of brackets."""
    pieces: list[str | _Brackets] = []
    for part in parts:
        if not isinstance(part, _Chain):
            pieces.append(part)
            continue
        for number, operand in enumerate(part.operands):
            pieces += _without_chains(operand)
            if number < len(part.operators):
                pieces.append(f" {part.operators[number]} ")
    return pieces


def _head(pieces: Sequence[str | _Brackets]) -> tuple[str, bool]:
    """The text up to the first place where it may be split, and if there is one."""
    text = ""
    for piece in pieces:
        if not isinstance(piece, str):
            return text + piece.opening, True
        text += piece
    return text, False


def _flat(parts: _Parts) -> str:
    """Parts on one line."""
    texts: list[str] = []
    for piece in _without_chains(parts):
        if isinstance(piece, str):
            texts.append(piece)
            continue
        inside = ", ".join(map(_flat, piece.items))
        single = len(piece.items) == 1 and piece.each and piece.opening == "("
        texts.append(f"{piece.opening}{inside}{',' if single else ''}{piece.closing}")
    return "".join(texts)
