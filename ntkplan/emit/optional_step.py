"""Parts that differ in a step which some of them leave out, as one function."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.expression import INDENT, atom, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.record_table import table_of_records
from ntkplan.emit.split_again import joined, without_parentheses

_ASSIGNED = re.compile(r"(\w+) \+?= ")
_TAP = re.compile(r'\btaps\["(\w+)"\]')


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartText:
    """What the function of a part does, as text.

    Attributes:
        trees: Names for trees in `params`, by the text that they stand for.
        body: Its statements, each on one line.
        records: Keys and texts of what it records.
        returned: Texts of the values that it returns.
    """

    trees: Mapping[str, str]
    body: tuple[str, ...]
    records: tuple[tuple[str, str], ...]
    returned: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Step:
    """A step that one part has and another leaves out.

    Attributes:
        start: The first of its statements.
        stop: The statement after its last.
        key: The key of a tap that parts have which have the step.
        result: The name of what it computes.
        otherwise: What other parts have in the place of that.
        names: The longer part's names for those of the shorter one.
    """

    start: int
    stop: int
    key: str
    result: str
    otherwise: str
    names: Mapping[str, str]


def merged(longer: PartText, shorter: PartText) -> tuple[list[str], list[str]] | None:
    """Returns the same statements for both parts, but for the numbers in them.

    Args:
        longer: A part.
        shorter: One that leaves a step out.

    Returns:
        The lines of either; None where they differ in more than a step that has a tap.
    """
    longer = _with_result(longer, shorter)
    step = _step(longer, shorter)
    if step is None:
        return None
    texts = [_renamed(text, step.names) for text in shorter.body[step.start :]]
    short_body = (*shorter.body[: step.start], *texts)
    inside = longer.body[step.start : step.stop]
    tails = (longer.body[step.stop :], short_body[step.start :])
    heads = (longer.body[: step.start], short_body[: step.start])
    shared = {key for key, _ in shorter.records}
    own = [entry for entry in longer.records if entry[0] not in shared]
    common = [entry for entry in longer.records if entry[0] in shared]
    opened = [f'if "{step.key}" in taps:']
    trees = {name: f"{name} = {text}" for text, name in longer.trees.items()}
    outside = _read(
        list(trees), (*longer.body[: step.start], *longer.body[step.stop :])
    )
    in_step = [line for name, line in trees.items() if name not in outside]
    lines = []
    for head, tail in zip(heads, tails, strict=True):
        lines.append(
            [
                *(line for line in trees.values() if line not in in_step),
                *_split(head, WIDTH),
                f"{step.result} = {step.otherwise}",
                *opened,
                *indented(in_step),
                *indented(_split(inside, WIDTH - len(INDENT))),
                *_split(tail, WIDTH),
                *_recorded(common, own, opened),
                f"return {', '.join([*longer.returned, *_record_name(longer)])}",
            ]
        )
    return lines[0], lines[1]


def _record_name(part: PartText) -> list[str]:
    return ["activations"] * bool(part.records)


def _recorded(
    common: Sequence[tuple[str, str]],
    own: Sequence[tuple[str, str]],
    opened: Sequence[str],
) -> list[str]:
    """Prints the dictionary of what is recorded, and what the step adds to it."""
    if not common and not own:
        return []
    lines = table_of_records("activations = ", common)
    added = [
        line
        for key, text in own
        for line in statement(f'activations["{key}"] = ', atom(text), WIDTH - 4)
    ]
    return [*lines, *(opened if added else ()), *indented(added)]


def _split(texts: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for text in texts:
        target, equals, value = text.partition("= ")
        lines += statement(target + equals, atom(value), width)
    return lines


def statements_of(lines: Sequence[str]) -> tuple[str, ...] | None:
    """Returns assignments on one line each; None where there is anything else."""
    found: list[str] = []
    for item in ast.parse("\n".join(lines)).body:
        if not isinstance(item, ast.Assign | ast.AugAssign):
            return None
        text = joined(lines[item.lineno - 1 : item.end_lineno])
        if not _ASSIGNED.match(text):
            return None
        target, _, value = text.partition("= ")
        text = f"{target}= {without_parentheses(value)}"
        found.append(text)
    return tuple(found)


def _with_result(longer: PartText, shorter: PartText) -> PartText:
    """Gives what a step computes a name, where another part has a name in its place."""
    more = len(longer.body) - len(shorter.body)
    places = range(len(shorter.body) - 1, -1, -1)
    for place in places:
        one, other = longer.body[place + more], shorter.body[place]
        found = _differences(ast.parse(one), ast.parse(other))
        if not found:
            continue
        (expression, name), *others = found
        if others or not isinstance(name, ast.Name) or isinstance(expression, ast.Name):
            return longer
        if more < 1 or not isinstance(expression, ast.expr):
            return longer
        taken = {name for text in longer.body for name in _names(text)}
        result = next(f"h{n}" for n in itertools.count() if f"h{n}" not in taken)
        start, stop = expression.col_offset, expression.end_col_offset or 0
        named = (
            f"{result} = {one[start:stop]}",
            f"{one[:start]}{result}{one[stop:]}",
        )
        at = place + more
        body = (*longer.body[:at], *named, *longer.body[at + 1 :])
        return dataclasses.replace(longer, body=body)
    return longer


def _differences(one: ast.AST, other: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    """Returns the least parts of trees that differ in more than names and integers."""
    if type(one) is not type(other):
        return [(one, other)]
    if isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
        integers = type(one.value) is type(other.value) is int
        return [] if integers or one.value == other.value else [(one, other)]
    pairs = [list(ast.iter_child_nodes(node)) for node in (one, other)]
    if len(pairs[0]) != len(pairs[1]):
        return [(one, other)]
    return [found for both in zip(*pairs, strict=True) for found in _differences(*both)]


def _step(longer: PartText, shorter: PartText) -> _Step | None:
    """Finds the one step in which parts differ."""
    more = len(longer.body) - len(shorter.body)
    if more < 1 or len(longer.returned) != len(shorter.returned):
        return None
    forms = [[_form(text) for text in part.body] for part in (longer, shorter)]
    start = 0
    while start < len(shorter.body) and forms[0][start] == forms[1][start]:
        if (
            longer.body[start].partition(" ")[0]
            != shorter.body[start].partition(" ")[0]
        ):
            break
        if _names(longer.body[start]) != _names(shorter.body[start]):
            break
        start += 1
    stop = start + more
    if forms[0][stop:] != forms[1][start:]:
        return None
    inside = longer.body[start:stop]
    around = (*longer.body[:start], *longer.body[stop:])
    key = _own_key(inside, around, shorter)
    names = _matched(
        [*longer.body[stop:], *longer.returned],
        [*shorter.body[start:], *shorter.returned],
    )
    if key is None or names is None:
        return None
    made = {_assigned(text) for text in inside}
    results = [(own, other) for other, own in names.items() if own in made]
    if len(results) != 1:
        return None
    ((result, otherwise),) = results
    before = {_assigned(text) for text in longer.body[:start]}
    after = {_assigned(text) for text in shorter.body[start:]}
    others = {other: own for other, own in names.items() if own != result}
    renamed = {other: own for other, own in others.items() if other != own}
    if otherwise in after or not renamed.keys() <= after:
        return None
    if made & {name for text in longer.body[:start] for name in _names(text)} - before:
        return None
    if not _records_agree(longer, shorter, renamed, made):
        return None
    return _Step(
        start=start,
        stop=stop,
        key=key,
        result=result,
        otherwise=otherwise,
        names={**renamed, otherwise: result},
    )


def _records_agree(
    longer: PartText,
    shorter: PartText,
    renamed: Mapping[str, str],
    made: set[str],
) -> bool:
    """Says whether both record the same, but for what the step computes."""
    known = dict(longer.records)
    for key, text in shorter.records:
        if key not in known or known[key] != _renamed(text, renamed):
            return False
    own = [text for key, text in longer.records if key not in dict(shorter.records)]
    return all(_names(text) and set(_names(text)) <= made for text in own)


def _own_key(
    inside: Sequence[str], around: Sequence[str], shorter: PartText
) -> str | None:
    """Returns a tap that only a step adds; a part has it if it has the step."""
    elsewhere = _TAP.findall(" ".join((*around, *shorter.body)))
    own = [key for key in _TAP.findall(" ".join(inside)) if key not in elsewhere]
    return own[0] if own else None


def _read(names: Sequence[str], texts: Sequence[str]) -> set[str]:
    """Returns those of some names that texts read."""
    return {name for text in texts for name in _names(text) if name in names}


def _form(text: str) -> str:
    """Returns a statement's syntax, all names and integers alike."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = "name"
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            node.value = 0
    return ast.dump(tree)


def _names(text: str) -> list[str]:
    return [node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]


def _assigned(text: str) -> str:
    return text.partition(" ")[0]


def _matched(longer: Sequence[str], shorter: Sequence[str]) -> dict[str, str] | None:
    """Returns the longer texts' names by those of the shorter ones, if clear."""
    found: dict[str, str] = {}
    for one, other in zip(longer, shorter, strict=True):
        for own, name in zip(_names(one), _names(other), strict=True):
            if found.setdefault(name, own) != own:
                return None
    return found if len(set(found.values())) == len(found) else None


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Replaces names in a statement; those of keys and attributes stay."""
    if not names:
        return text
    pattern = "|".join(map(re.escape, names))
    return re.sub(
        rf"(?<![\w.\"])({pattern})(?![\w\"])", lambda found: names[found[1]], text
    )
