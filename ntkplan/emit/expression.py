"""Python expressions as text: precedence, nesting, and lines that fit.

Parentheses are put only where Python's grammar, or a reader, needs them, and what
does not fit on one line is split as `ruff format` splits it.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable, Sequence

from ntkplan.emit.layout import INDENT, split, split_target

__all__ = [
    "INDENT",
    "OPERATORS",
    "Expression",
    "Precedence",
    "apart",
    "atom",
    "attribute",
    "binary",
    "call",
    "indented",
    "keyword",
    "method",
    "negative",
    "prefixed",
    "receiver",
    "sequence",
    "statement",
    "subscript",
]

_SIMPLE_POWER_OPERAND = re.compile(r"-?[A-Za-z_0-9.]+")


class Precedence(enum.IntEnum):
    """How tightly the outermost operator of an expression binds."""

    COMPARE = 7
    OR = 8
    XOR = 9
    AND = 10
    SHIFT = 11
    ADD = 12
    MULTIPLY = 13
    UNARY = 14
    POWER = 15
    ATOM = 16


OPERATORS: dict[str, Precedence] = {
    "==": Precedence.COMPARE,
    "!=": Precedence.COMPARE,
    "<": Precedence.COMPARE,
    "<=": Precedence.COMPARE,
    ">": Precedence.COMPARE,
    ">=": Precedence.COMPARE,
    "|": Precedence.OR,
    "^": Precedence.XOR,
    "&": Precedence.AND,
    "<<": Precedence.SHIFT,
    ">>": Precedence.SHIFT,
    "+": Precedence.ADD,
    "-": Precedence.ADD,
    "*": Precedence.MULTIPLY,
    "/": Precedence.MULTIPLY,
    "//": Precedence.MULTIPLY,
    "%": Precedence.MULTIPLY,
    "@": Precedence.MULTIPLY,
    "**": Precedence.POWER,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expression:
    """A Python expression.

    Attributes:
        text: All of it on one line.
        precedence: Of its outermost operator.
        depth: Levels of operations nested in each other; 0 for a name or a number.
        operator: The outermost binary operator, or empty.
        opening: The text up to and with the bracket where it may be split, or empty.
        items: What stands between the brackets.
        closing: The text from the closing bracket on.
        collection: Whether the brackets make a tuple or a list and not a call, which
            the formatter splits in another way.
    """

    text: str
    precedence: Precedence = Precedence.ATOM
    depth: int = 0
    operator: str = ""
    opening: str = ""
    items: tuple[Expression, ...] = ()
    closing: str = ""
    collection: bool = False

    def __str__(self) -> str:
        """Returns the text on one line."""
        return self.text


def atom(text: str) -> Expression:
    """A name, or other text that binds as tightly as one."""
    return Expression(text=text)


def negative(text: str) -> Expression:
    """A number with a minus sign in front."""
    return Expression(text=text, precedence=Precedence.UNARY)


def binary(operator: str, left: Expression, right: Expression) -> Expression:
    """An infix operation.

    >>> total = binary("+", atom("a"), atom("b"))
    >>> binary("*", total, atom("c")).text
    '(a + b) * c'
    >>> binary("+", total, total).text
    'a + b + (a + b)'
    >>> binary("**", atom("x"), atom("3")).text
    'x**3'
    """
    precedence = OPERATORS[operator]
    left_text, right_text = left.text, right.text
    if _needs_parentheses(operator, left, is_right=False):
        left_text = f"({left_text})"
    if _needs_parentheses(operator, right, is_right=True):
        right_text = f"({right_text})"
    space = " "
    if operator == "**" and all(
        _SIMPLE_POWER_OPERAND.fullmatch(text) for text in (left_text, right_text)
    ):
        space = ""
    return Expression(
        text=f"{left_text}{space}{operator}{space}{right_text}",
        precedence=precedence,
        depth=1 + max(left.depth, right.depth),
        operator=operator,
    )


def _needs_parentheses(operator: str, operand: Expression, *, is_right: bool) -> bool:
    """Whether an operand must be bracketed, or reads better when it is."""
    precedence = OPERATORS[operator]
    if operator == "**":
        if is_right and operand.operator == "**":
            return True
        return operand.precedence < (Precedence.UNARY if is_right else Precedence.ATOM)
    if precedence <= Precedence.SHIFT and operand.operator:
        # Few readers know how these bind against each other and against arithmetic.
        if precedence is Precedence.COMPARE:
            return operand.precedence < Precedence.ADD
        return is_right or operand.operator != operator
    if operand.precedence < precedence:
        return True
    if operand.precedence > precedence:
        return False
    if is_right:
        return True
    return (operator == "@") != (operand.operator == "@")


def prefixed(operator: str, operand: Expression) -> Expression:
    """A unary minus or inversion.

    >>> prefixed("-", binary("*", atom("a"), atom("b"))).text
    '-(a * b)'
    """
    text = operand.text
    if operand.precedence < Precedence.ATOM:
        text = f"({text})"
    return Expression(
        text=f"{operator}{text}",
        precedence=Precedence.UNARY,
        depth=1 + operand.depth,
    )


def _bracketed(
    opening: str, items: Sequence[Expression], closing: str, depth: int
) -> Expression:
    inside = ", ".join(item.text for item in items)
    return Expression(
        text=f"{opening}{inside}{closing}",
        depth=depth,
        opening=opening if items else "",
        items=tuple(items),
        closing=closing,
    )


def call(
    function: str, *arguments: Expression, **keywords: Expression | str
) -> Expression:
    """A call.

    >>> call("jnp.sum", atom("x"), axis="-1").text
    'jnp.sum(x, axis=-1)'
    """
    items = [*arguments, *(keyword(name, value) for name, value in keywords.items())]
    depth = 1 + max((item.depth for item in items), default=0)
    return _bracketed(f"{function}(", items, ")", depth)


def keyword(name: str, value: Expression | str) -> Expression:
    """An argument given by name."""
    if isinstance(value, str):
        return atom(f"{name}={value}")
    return dataclasses.replace(
        value,
        text=f"{name}={value.text}",
        opening=f"{name}={value.opening}" if value.opening else "",
    )


def method(base: Expression, name: str, *arguments: Expression | str) -> Expression:
    """A method's call.

    >>> method(binary("+", atom("a"), atom("b")), "reshape", "1", "-1").text
    '(a + b).reshape(1, -1)'
    """
    items = [atom(item) if isinstance(item, str) else item for item in arguments]
    depth = 1 + max(base.depth, *(item.depth for item in items), 0)
    return _bracketed(f"{receiver(base)}.{name}(", items, ")", depth)


def attribute(base: Expression, name: str) -> Expression:
    """An attribute, such as `.T`."""
    return Expression(text=f"{receiver(base)}.{name}", depth=base.depth)


def followed(base: Expression, text: str) -> Expression:
    """An expression with more text behind its bracket, such as `[0]` or `.sum()`.

    >>> followed(call("f", atom("x")), "[0]").text
    'f(x)[0]'
    """
    return dataclasses.replace(base, text=base.text + text, closing=base.closing + text)


def subscript(base: Expression, *items: str) -> Expression:
    """An index; it counts as no level of nesting.

    >>> subscript(atom("x"), ":", "None").text
    'x[:, None]'
    """
    return Expression(text=f"{receiver(base)}[{', '.join(items)}]", depth=base.depth)


def receiver(base: Expression) -> str:
    """The text of an expression in front of a dot or a bracket."""
    if base.precedence < Precedence.ATOM or base.text[:1].isdigit():
        return f"({base.text})"
    return base.text


def sequence(items: Sequence[Expression | str], *, brackets: str = "()") -> Expression:
    """A tuple, or a list with `brackets="[]"`.

    >>> sequence(["1"]).text, sequence([]).text
    ('(1,)', '()')
    """
    opening, closing = brackets
    parts = [atom(item) if isinstance(item, str) else item for item in items]
    trailing = "," if len(parts) == 1 and brackets == "()" else ""
    depth = max((part.depth for part in parts), default=0)
    made = _bracketed(opening, parts, trailing + closing, depth)
    return dataclasses.replace(made, collection=True, closing=closing)


def statement(prefix: str, value: Expression, width: int) -> list[str]:
    """Lines of `prefix value`, where the prefix is `name = ` or `return `.

    Args:
        prefix: What stands before the expression.
        value: The expression.
        width: Columns that a line may have.

    Returns:
        The lines, of which only those that cannot be split any further are longer.
    """
    one_line = prefix + value.text
    if len(one_line) <= width:
        return [one_line]
    start = value.text.partition("(")[0]
    if prefix.endswith(" = ") and len(prefix + start) + 1 > width:
        # What a tuple is unpacked to is split before what is unpacked.
        targets = split_target(prefix.removesuffix(" = "), width)
        if targets is not None:
            return [*targets[:-1], *statement(f"{targets[-1]} = ", value, width)]
    lines = split(prefix, value.text, width)
    return _split(prefix, value, width, after="") if lines is None else lines


def _split(prefix: str, value: Expression, width: int, after: str) -> list[str]:
    """Splits at the brackets; a call's arguments stay on one line if they fit."""
    lines = [prefix + value.opening]
    inside = INDENT + ", ".join(item.text for item in value.items)
    if len(inside) <= width and not value.collection:
        lines.append(inside)
    else:
        for item in value.items:
            if item.opening and len(INDENT) + len(item.text) + 1 > width:
                lines.extend(
                    INDENT + line
                    for line in _split("", item, width - len(INDENT), after=",")
                )
            else:
                lines.append(f"{INDENT}{item.text},")
    lines.append(value.closing + after)
    return lines


def indented(lines: Iterable[str]) -> list[str]:
    """Puts lines one level deeper; empty ones stay empty."""
    return [INDENT + line if line else "" for line in lines]


def apart(lines: Sequence[str]) -> list[str]:
    """Puts an empty line before lines that begin with a function, as formatters do."""
    begins = lines[:1] and lines[0].startswith(("def ", "@"))
    return ["", *lines] if begins else list(lines)
