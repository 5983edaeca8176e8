"""Other names in the text of a statement, which is then put on lines anew."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence, Set

from ntkplan.emit.layout import LINE_WIDTH
from ntkplan.emit.split_again import split_again


def identifiers(tree: ast.AST) -> set[str]:
    """Returns every name that stands anywhere in a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for field in ("id", "arg", "name", "attr"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found.add(value)
    return found


def renamed(node: ast.stmt, lines: Sequence[str], names: Mapping[str, str]) -> str:
    """Returns the text of a statement with other names in it, comments kept."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(item.lineno for item in decorators)])
    text = [line.encode() for line in lines[first - 1 : node.end_lineno]]
    places = [
        (item.lineno, item.col_offset, item.id)
        for item in ast.walk(node)
        if isinstance(item, ast.Name) and item.id in names
    ]
    if isinstance(node, ast.FunctionDef) and node.name in names:
        places.append((node.lineno, node.col_offset + len("def "), node.name))
    for line, column, name in sorted(places, reverse=True):
        old = text[line - first]
        after = column + len(name.encode())
        text[line - first] = old[:column] + names[name].encode() + old[after:]
    changed = {line for line, _, name in places if names[name] != name}
    return "\n".join(_laid_out(node, [line.decode() for line in text], first, changed))


def _laid_out(
    node: ast.stmt, text: Sequence[str], first: int, changed: Set[int]
) -> list[str]:
    """Splits the statements in a text anew whose lines have changed.

    Args:
        node: Whose text it is; what stands in it are statements, too.
        text: Its lines.
        first: Number of the first of them.
        changed: Numbers of lines in which names are others.
    """
    lines = list(text)
    simple = [
        item
        for item in ast.walk(node)
        if isinstance(item, ast.Assign | ast.AugAssign | ast.Expr | ast.Return)
    ]
    for item in sorted(simple, key=lambda item: -item.lineno):
        start, stop = item.lineno, item.end_lineno or item.lineno
        if changed.isdisjoint(range(start, stop + 1)):
            continue
        margin = " " * item.col_offset
        own = [
            line.removeprefix(margin)
            for line in lines[start - first : stop - first + 1]
        ]
        again = split_again(own, LINE_WIDTH - len(margin))
        if again is not None:
            lines[start - first : stop - first + 1] = [margin + line for line in again]
    return lines
