"""Syntax as pieces between which a line may end.

A statement is read back as Python, so that it makes no difference how its text was
put together.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Sequence

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
    ast.Is: ("is", 8),
    ast.IsNot: ("is not", 8),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brackets:
    """Something in brackets, which may be split there.

    Attributes:
        opening: The bracket.
        items: What stands between commas.
        closing: The other bracket.
        each: Whether every item gets a line, as in a tuple; a call's arguments stay
            together on one line if they fit.
        comma: Whether a comma may follow the last item.
        clauses: Whether the items are those of a comprehension, without commas.
    """

    opening: str
    items: tuple[Parts, ...]
    closing: str
    each: bool = False
    comma: bool = True
    clauses: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """Operands of one precedence, with the operators between them."""

    operands: tuple[Parts, ...]
    operators: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """Methods called on each other's results, each of which may get a line."""

    links: tuple[Parts, ...]


Parts = tuple[str | Brackets | Chain | Calls, ...]


class Reader:
    """Makes parts out of syntax."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bytes = text.encode()

    def parts(self, node: ast.expr) -> Parts:
        """Returns an expression in the pieces between which it may be split."""
        links = self._links(node)
        if len(links) > 2:
            return (Calls(links=tuple(links)),)
        return tuple(piece for link in links for piece in link)

    def _links(self, node: ast.expr) -> list[Parts]:
        """Cuts an expression before every attribute of what ends in brackets."""
        match node:
            case ast.Attribute(value=value):
                cuts = self._is_bracketed(value) or isinstance(
                    value, ast.Call | ast.Subscript
                )
                own: Parts = (f".{node.attr}",)
            case ast.Call(func=value) | ast.Subscript(value=value):
                cuts, own = False, (self._own_brackets(node),)
            case _:
                return [self._operation(node)]
        links = (
            [self._within(value)] if self._is_bracketed(value) else self._links(value)
        )
        return [*links, own] if cuts else [*links[:-1], (*links[-1], *own)]

    def _operation(self, node: ast.expr) -> Parts:
        """What is no call, index or attribute."""
        match node:
            case ast.BinOp() | ast.Compare():
                return (self._chain(node),)
            case ast.IfExp():
                parts = (node.body, node.test, node.orelse)
                operands = tuple(self._within(part) for part in parts)
                return (Chain(operands=operands, operators=("if", "else")),)
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
            case ast.Lambda():
                arguments = ast.unparse(node.args)
                return (f"lambda {arguments}: ", *self._within(node.body))
            case ast.DictComp():
                return (self._comprehension(node),)
            case _:
                return (self._source(node),)

    def _comprehension(self, node: ast.DictComp) -> Brackets:
        """The item of a dictionary, and the loops over it."""
        item = (f"{self._source(node.key)}: ", *self._within(node.value))
        loops = [
            (f"for {self._source(loop.target)} in ", *self._within(loop.iter))
            for loop in node.generators
        ]
        return Brackets(
            opening="{",
            items=(item, *loops),
            closing="}",
            comma=False,
            clauses=True,
        )

    def _own_brackets(self, node: ast.Call | ast.Subscript) -> Brackets | str:
        """The brackets that a call or an index ends in."""
        if isinstance(node, ast.Call):
            items = [self.parts(item) for item in node.args]
            items += [self._keyword(item) for item in node.keywords]
            return self._brackets("(", items, ")")
        index = node.slice
        if isinstance(index, ast.Tuple) and not self._is_bracketed(index):
            return self._brackets("[", [self.parts(item) for item in index.elts], "]")
        items = (self.parts(index),)
        return Brackets(opening="[", items=items, closing="]", comma=False)

    def needs_parentheses(self, node: ast.expr) -> bool:
        """Returns whether an expression is put into brackets to be split."""
        if len(self._links(node)) > 2:
            return True
        if not isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp):
            return isinstance(node, ast.Name | ast.Constant | ast.IfExp)
        if isinstance(node, ast.UnaryOp):
            parts = self.parts(node)
            _, splits = head(without_chains(parts))
            return not splits or isinstance(parts[-1], Calls)
        count = _count(node, self._is_bracketed)
        ends = (
            _leftmost(node, self._is_bracketed),
            _rightmost(node, self._is_bracketed),
        )
        return count > 1 or not any(
            self._is_bracketed(end) or _has_brackets(end) for end in ends
        )

    def _brackets(
        self, opening: str, items: Sequence[Parts], closing: str, *, each: bool = False
    ) -> Brackets | str:
        if not items:
            return opening + closing
        return Brackets(opening=opening, items=tuple(items), closing=closing, each=each)

    def _keyword(self, item: ast.keyword) -> Parts:
        head = "**" if item.arg is None else f"{item.arg}="
        return (head, *self.parts(item.value))

    def _within(self, node: ast.expr) -> Parts:
        """An operand or a receiver, with the brackets around it."""
        parts = self.parts(node)
        if not self._is_bracketed(node) or isinstance(node, ast.Tuple):
            return parts
        return (Brackets(opening="(", items=(parts,), closing=")", comma=False),)

    def _chain(self, node: ast.BinOp | ast.Compare) -> Chain:
        if isinstance(node, ast.Compare):
            operators = [_OPERATORS[type(item)][0] for item in node.ops]
            operands = [self._within(item) for item in (node.left, *node.comparators)]
            return Chain(operands=tuple(operands), operators=tuple(operators))
        symbol, rank = _OPERATORS[type(node.op)]
        left = node.left
        same = isinstance(left, ast.BinOp) and _OPERATORS[type(left.op)][1] == rank
        if symbol == "**" and f" {symbol} " not in self._between(node):
            return Chain(operands=((self._source(node),),), operators=())
        if same and isinstance(left, ast.BinOp) and not self._is_bracketed(left):
            chain = self._chain(left)
            return Chain(
                operands=(*chain.operands, self._within(node.right)),
                operators=(*chain.operators, symbol),
            )
        operands = (self._within(left), self._within(node.right))
        return Chain(operands=operands, operators=(symbol,))

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


def without_chains(parts: Parts) -> list[str | Brackets]:
    """Parts with their operators as text: no line ends there outside of brackets."""
    pieces: list[str | Brackets] = []
    for part in parts:
        if isinstance(part, Calls):
            pieces += [piece for link in part.links for piece in without_chains(link)]
            continue
        if not isinstance(part, Chain):
            pieces.append(part)
            continue
        for number, operand in enumerate(part.operands):
            pieces += without_chains(operand)
            if number < len(part.operators):
                pieces.append(f" {part.operators[number]} ")
    return pieces


def head(pieces: Sequence[str | Brackets]) -> tuple[str, bool]:
    """The text up to the first place where it may be split, and if there is one."""
    text = ""
    for piece in pieces:
        if not isinstance(piece, str):
            return text + piece.opening, True
        text += piece
    return text, False


def together(part: Brackets) -> str:
    """What stands in brackets, on one line."""
    return (" " if part.clauses else ", ").join(map(flat, part.items))


def flat(parts: Parts) -> str:
    """Parts on one line."""
    texts: list[str] = []
    for piece in without_chains(parts):
        if isinstance(piece, str):
            texts.append(piece)
            continue
        inside = together(piece)
        single = len(piece.items) == 1 and piece.each and piece.opening == "("
        texts.append(f"{piece.opening}{inside}{',' if single else ''}{piece.closing}")
    return "".join(texts)
