"""Code that differs in numbers alone, as one text with names in their place."""

from __future__ import annotations

import ast
import collections
import dataclasses
from collections.abc import Collection, Sequence

from ntkplan.emit.layout import INDENT
from ntkplan.emit.names import free
from ntkplan.emit.split_again import split_again
from ntkplan.emit.window_text import WINDOWS, WINDOWS_AND_ONE

_OF_WINDOWS = ("x", "window", "strides", "padding")

# What arguments of functions are, by their place; the functions are the file's own.
_ROLES = {
    "conv": ("x", "kernel", "strides", "padding"),
    WINDOWS: _OF_WINDOWS,
    WINDOWS_AND_ONE: _OF_WINDOWS,
}
_OTHER_ROLE = "size"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Slot:
    """A place in which texts differ.

    Attributes:
        role: What stands there, in a word.
        nodes: What stands there in every text.
        repeats: 1, or how often each text repeats one number there, as in `(2, 2)`;
            the number alone is then the argument.
    """

    role: str
    nodes: tuple[ast.expr, ...]
    repeats: int = 1

    @property
    def name(self) -> str:
        """What the argument is called, if that is free."""
        return self.role.removesuffix("s") if self.repeats > 1 else self.role

    @property
    def values(self) -> tuple[str, ...]:
        """Python texts of the arguments."""
        if self.repeats == 1:
            return tuple(map(_text, self.nodes))
        return tuple(_text(n.elts[0]) for n in self.nodes if isinstance(n, ast.Tuple))

    def reading(self, parameter: str) -> str:
        """Returns Python text for the place, given the argument's name."""
        if self.repeats == 1:
            return parameter
        return f"({', '.join([parameter] * self.repeats)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """One text for several, with parameters for what they differ in.

    Attributes:
        lines: The text.
        parameters: The parameters; what half of the texts have is a default.
        arguments: For every text its arguments, those left out that are defaults.
    """

    lines: tuple[str, ...]
    parameters: tuple[str, ...]
    arguments: tuple[tuple[str, ...], ...]


def settled(texts: Sequence[Sequence[str]], width: int) -> Settled | None:
    """Puts parameters in the place of the numbers in which texts differ.

    Args:
        texts: Lines of statements.
        width: Columns that a line may have.

    Returns:
        None where the texts differ in more than such numbers.

    Example:
        >>> found = settled([["h = x.reshape(2, 4)"], ["h = x.reshape(2, 5)"]], 80)
        >>> found.lines, found.parameters, found.arguments
        (('h = x.reshape(2, size)',), ('size',), (('4',), ('5',)))
        >>> texts = [[f"h = windows(x, {n}, 1).reshape({n + 3})"] for n in (1, 2)]
        >>> found = settled(texts, 80)
        >>> found.parameters, found.arguments
        (('size', 'window'), (('4', 'window=1'), ('5', 'window=2')))
    """
    if len({tuple(lines) for lines in texts}) == 1:
        nothing = ((),) * len(texts)
        return Settled(lines=tuple(texts[0]), parameters=(), arguments=nothing)
    trees = [ast.parse("\n".join(lines)) for lines in texts]
    slots: list[_Slot] = []
    if not _compare(trees, _OTHER_ROLE, slots):
        return None
    found = [
        _with_parameters(texts[0], trees[0], own, width)
        for own in ([_squared(slot) for slot in slots], slots)
    ]
    # One number for both axes is a shorter call, but perhaps no shorter function.
    return min(filter(None, found), key=lambda each: len(each.lines), default=None)


def _with_parameters(
    text: Sequence[str], tree: ast.Module, slots: Sequence[_Slot], width: int
) -> Settled | None:
    """Puts parameters in the place of slots, in the first of the texts."""
    parameters, values = _parameters(slots, tree)
    lines = _rewritten(list(text), tree, slots, parameters, width)
    if lines is None:
        return None
    given = {
        name: [each[parameters.index(name)] for each in values]
        for name in dict.fromkeys(parameters)
    }
    usual = {name: _usual(column) for name, column in given.items()}
    positional = [name for name in given if usual[name] is None]
    # Arguments without a name stand before those with one.
    positional.sort(key=lambda name: not _is_size(name))
    others = [name for name in given if usual[name] is not None]
    return Settled(
        lines=tuple(lines),
        parameters=(*positional, *(f"{name}={usual[name]}" for name in others)),
        arguments=tuple(
            (
                *(_said(name, given[name][number]) for name in positional),
                *(
                    f"{name}={given[name][number]}"
                    for name in others
                    if given[name][number] != usual[name]
                ),
            )
            for number in range(len(values))
        ),
    )


def _squared(slot: _Slot) -> _Slot:
    """Returns a slot that is read as one number, where each text repeats one."""
    lengths = {len(n.elts) if isinstance(n, ast.Tuple) else 1 for n in slot.nodes}
    alike = all(
        len({_text(item) for item in node.elts}) == 1
        for node in slot.nodes
        if isinstance(node, ast.Tuple)
    )
    if len(lengths) > 1 or not alike:
        return slot
    return dataclasses.replace(slot, repeats=lengths.pop())


def _said(name: str, value: str) -> str:
    """Returns an argument, by name where the name says more than that it is a size."""
    return value if _is_size(name) else f"{name}={value}"


def _is_size(name: str) -> bool:
    return name.startswith(_OTHER_ROLE)


def _usual(values: Sequence[str]) -> str | None:
    """Returns the value that at least half have, or None."""
    value, count = collections.Counter(values).most_common(1)[0]
    return value if 2 * count >= len(values) and count > 1 else None


def _compare(nodes: Sequence[ast.AST], role: str, slots: list[_Slot]) -> bool:
    """Collects where syntax differs in numbers; says whether that is all."""
    dumped = map(ast.dump, nodes)
    whole = next(dumped)
    if all(other == whole for other in dumped):
        return True
    if all(_is_setting(node, role) for node in nodes):
        own = tuple(node for node in nodes if isinstance(node, ast.expr))
        slots.append(_Slot(role=role, nodes=own))
        return True
    first = nodes[0]
    if len({type(node) for node in nodes}) > 1:
        return False
    for field in first._fields:
        values = [getattr(node, field) for node in nodes]
        if isinstance(values[0], ast.AST):
            if not all(isinstance(value, ast.AST) for value in values):
                return False
            if not _compare(values, _role(first, field, 0), slots):
                return False
        elif isinstance(values[0], list):
            if len({len(value) for value in values}) > 1:
                return False
            for place, items in enumerate(zip(*values, strict=True)):
                same = len({repr(item) for item in items}) == 1
                if all(isinstance(item, ast.AST) for item in items):
                    if not _compare(items, _role(first, field, place), slots):
                        return False
                elif not same:
                    return False
        elif len({repr(value) for value in values}) > 1:
            return False
    return True


def _is_setting(node: ast.AST, role: str) -> bool:
    if isinstance(node, ast.Constant):
        is_padding = role == "padding" and isinstance(node.value, str)
        is_number = isinstance(node.value, int | float)
        return is_padding or (is_number and not isinstance(node.value, bool))
    return isinstance(node, ast.Tuple) and all(
        _is_setting(item, "") for item in node.elts
    )


def _role(node: ast.AST, field: str, place: int) -> str:
    """Returns what a child of some syntax is called."""
    if isinstance(node, ast.keyword) and node.arg is not None:
        return node.arg
    if isinstance(node, ast.Slice) and field == "step":
        return "stride"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        return "factor"
    if isinstance(node, ast.Call) and field == "args":
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        roles = _ROLES.get(function, ())
        if place < len(roles):
            return roles[place]
    return _OTHER_ROLE


def _parameters(
    slots: Sequence[_Slot], tree: ast.AST
) -> tuple[list[str], list[list[str]]]:
    """Names the parameter of every slot; those that always agree are one.

    Returns:
        For every slot the name, and for every text the values of all slots.
    """
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names: dict[tuple[str, tuple[str, ...]], str] = {}
    parameters: list[str] = []
    columns: list[tuple[str, ...]] = []
    for slot in slots:
        values = slot.values
        if (slot.name, values) not in names:
            names[slot.name, values] = free(slot.name, {*taken, *names.values()})
        parameters.append(names[slot.name, values])
        columns.append(values)
    return parameters, [list(each) for each in zip(*columns, strict=True)]


def _text(node: ast.expr) -> str:
    return ast.unparse(node).replace("'", '"')


def _rewritten(
    lines: list[str],
    tree: ast.Module,
    slots: Sequence[_Slot],
    parameters: Sequence[str],
    width: int,
) -> list[str] | None:
    """Puts names in the place of slots, and splits those statements again."""
    edits: dict[int, list[tuple[ast.expr, str]]] = {}
    for slot, name in zip(slots, parameters, strict=True):
        node = slot.nodes[0]
        edits.setdefault(node.lineno, []).append((node, slot.reading(name)))
    for number, items in edits.items():
        for node, name in sorted(items, key=lambda item: -item[0].col_offset):
            if node.end_lineno != number:
                return None
            line = lines[number - 1]
            line = line[: node.col_offset] + name + line[node.end_col_offset :]
            lines[number - 1] = line
    return _split_where(lines, tree.body, edits, width)


def _split_where(
    lines: Sequence[str],
    body: Sequence[ast.stmt],
    edits: Collection[int],
    width: int,
    depth: int = 0,
) -> list[str] | None:
    """Splits the statements anew that were edited; None where that cannot be."""
    result: list[str] = []
    last = body[0].lineno - 1 if depth else 0
    for item in body:
        start, stop = item.lineno - 1, item.end_lineno or item.lineno
        result += lines[last:start]
        own, last = list(lines[start:stop]), stop
        if not any(start < number <= stop for number in edits):
            result += own
            continue
        if isinstance(item, ast.If) and not item.orelse:
            again = _split_where(lines, item.body, edits, width, depth + 1)
            result += own[:1]
        else:
            margin = INDENT * depth
            bare = [line.removeprefix(margin) for line in own]
            again = split_again(bare, width - len(margin))
            again = again and [margin + line for line in again]
        if again is None:
            return None
        result += again
    return result if depth else [*result, *lines[last:]]
