"""Calls of the functions of parts: one by one, or in a loop from part to part."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Sequence

from ntkplan._jax import Var
from ntkplan.emit.expression import INDENT, Expression, atom, call, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.numbering import LEAST, counting, range_text
from ntkplan.emit.part_function import Inside, PartFunction, inside_of, source_of
from ntkplan.emit.part_groups import with_optional_steps
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.value import Unpacked, Value, Written, exact
from ntkplan.emit.settings import settled
from ntkplan.errors import InternalError
from ntkplan.ir.equation import Body

# Names of values that have no other; a loop may go on with them.
_PLAIN_NAME = re.compile(r"h\d+")


def with_calls(
    steps: Sequence[Step],
    functions: Sequence[PartFunction],
    body: Body,
    kept: Collection[Var],
) -> list[Step]:
    """Puts calls of functions in the place of the steps of parts.

    Args:
        steps: The steps of a model.
        functions: The functions of its parts.
        body: The equations that the steps are of.
        kept: Variables that are read after all steps.
    """
    calls = _Calls(steps, functions, body, kept)
    return [
        item
        if isinstance(item, Step)
        else calls.loop(item)
        if isinstance(item, _Loop)
        else calls.call(item)
        for item in calls.in_order()
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loop:
    """Calls in a row that hand one array on, of parts whose keys count up.

    Attributes:
        functions: What is called.
        carried: Which argument is handed on.
        key: The parts' keys, as Python text in the number `i`.
        access: Python text that reads their leaves from `params`, likewise.
        numbers: Python text for the numbers.
    """

    functions: tuple[PartFunction, ...]
    carried: int
    key: str
    access: str
    numbers: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Callee:
    """The function of a part, and Python text for what it is told of this one."""

    name: str
    settings: tuple[str, ...]


class _Calls:
    """The calls among the steps, and who reads what they return."""

    def __init__(
        self,
        steps: Sequence[Step],
        functions: Sequence[PartFunction],
        body: Body,
        kept: Collection[Var],
    ) -> None:
        self._body = body
        self._functions = functions
        self._callees: dict[str, _Callee] = {}
        self._steps_of: dict[str, list[Step]] = {}
        self._items: list[Step | PartFunction] = []
        self._readers: dict[Var, int] = dict.fromkeys(kept, 1)
        for step in steps:
            function = _function_of(step, functions)
            if function is None:
                self._items.append(step)
                continue
            own = self._steps_of.setdefault(function.part.key, [])
            if not own:
                self._items.append(function)
            own.append(step)
        for item in self._items:
            read = item.inputs if isinstance(item, Step) else item.part.given
            for variable in read:
                if isinstance(variable, Var):
                    self._readers[variable] = self._readers.get(variable, 0) + 1

    def in_order(self) -> list[Step | PartFunction | _Loop]:
        """Returns the steps and, between them, calls and loops of calls."""
        found: list[Step | list[PartFunction]] = []
        for item in self._items:
            if isinstance(item, Step):
                found.append(item)
                continue
            last = found[-1] if found else None
            if isinstance(last, list) and self._follows(last, item):
                last.append(item)
            else:
                found.append([item])
        result: list[Step | PartFunction | _Loop] = []
        for item in found:
            result += [item] if isinstance(item, Step) else _looped(item)
        return result

    def _follows(self, chain: Sequence[PartFunction], item: PartFunction) -> bool:
        """Says whether a call reads what the one before it returned, and no one else.

        All else that it reads is what the one before it reads.
        """
        last = chain[-1]
        if len(last.returned) != 1 or len(item.returned) != 1 or last.form != item.form:
            return False
        carried = _carried(last, item)
        return (
            carried is not None
            and (len(chain) < 2 or carried == _carried(chain[-2], last))
            and self._readers.get(last.returned[0]) == 1
        )

    def _callee(self, function: PartFunction, context: Context) -> _Callee:
        """Returns what to call for a part; its function is printed the first time."""
        if function.part.key not in self._callees:
            groups = [
                group
                for alike in self._siblings(function)
                for group in self._groups(alike, context)
            ]
            for group, inside in with_optional_steps(groups):
                self._print(group, inside, context)
        return self._callees[function.part.key]

    def _siblings(self, function: PartFunction) -> list[list[PartFunction]]:
        """Returns the parts whose paths differ in numbers, sorted by their form."""
        found: dict[tuple[object, ...], list[PartFunction]] = {}
        for item in self._functions:
            if _template(item.part.path) == _template(function.part.path):
                found.setdefault(item.form, []).append(item)
        return list(found.values())

    def _groups(
        self, alike: Sequence[PartFunction], context: Context
    ) -> list[tuple[list[PartFunction], list[Inside]]]:
        """Sorts parts by the function that can be printed for them."""
        groups: list[tuple[list[PartFunction], list[Inside]]] = []
        for item in alike:
            steps = self._steps_of.get(item.part.key, [])
            inside = inside_of(item, steps, self._body, context)
            for functions, known in groups:
                texts = [each.lines for each in (*known, inside)]
                same = known[0].given == inside.given
                if same and settled(texts, WIDTH) is not None:
                    functions.append(item)
                    known.append(inside)
                    break
            else:
                groups.append(([item], [inside]))
        return groups

    def _print(
        self,
        group: Sequence[PartFunction],
        inside: Sequence[Inside],
        context: Context,
    ) -> None:
        """Prints the function of parts that are alike."""
        given = inside[0].given
        order = [item.part.key for item in self._functions]
        pairs = sorted(
            zip(group, inside, strict=True),
            key=lambda pair: order.index(pair[0].part.key),
        )
        group, inside = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        first = group[0]
        body = settled([each.lines for each in inside], WIDTH)
        if body is None:
            raise InternalError("parts are no longer alike", first.part.path)
        name = context.module.helper(
            ("part", first.part.key),
            first.part.function,
            lambda name: source_of(group, given, body, name),
        )
        for item, settings in zip(group, body.arguments, strict=True):
            self._callees[item.part.key] = _Callee(name=name, settings=settings)

    def call(self, function: PartFunction) -> Step:
        """Returns the step that makes a call."""
        part = function.part

        def write(values: Sequence[Value], context: Context) -> Unpacked:
            key = f'"{part.key}"'
            callee = self._callee(function, context)
            arguments = [exact(value) for value in values]
            return Unpacked(
                expression=_applied(callee, function, part.access, arguments, key),
                target=lambda names: _target(function, names, key),
            )

        return Step(inputs=part.given, outputs=function.returned, write=write)

    def loop(self, loop: _Loop) -> Step:
        """Returns the step that makes calls in a loop.

        Where their functions print differently after all, or have other settings, it is
        a loop for those that follow upon each other alike.
        """
        first, last, carried = loop.functions[0], loop.functions[-1], loop.carried
        is_free = self._readers.get(first.part.given[carried]) == 1

        def write(values: Sequence[Value], context: Context) -> Written:
            called = [self._callee(function, context) for function in loop.functions]
            arguments = [exact(value) for value in values]
            start = arguments[carried]
            goes_on = is_free and _PLAIN_NAME.fullmatch(start.text)

            def lines(names: Sequence[str]) -> list[str]:
                (name,) = names
                given = [*arguments]
                begun = [] if goes_on else statement(f"{name} = ", start, WIDTH)
                if len(set(called)) > 1 and begun:
                    begun, given[carried] = [], start
                else:
                    given[carried] = atom(name)
                pairs = zip(called, loop.functions, strict=True)
                for callee, run in itertools.groupby(pairs, lambda pair: pair[0]):
                    functions = [function for _, function in run]
                    begun += _run_lines(callee, functions, given, name)
                    given[carried] = atom(name)
                return begun

            names = (start.text,) if goes_on else ()
            return Written(lines=lines, expression=atom(called[0].name), names=names)

        given = first.part.given
        return Step(
            inputs=given, outputs=last.returned, write=write, n_captured=len(given)
        )


def _template(path: str) -> str:
    """Returns what paths that differ in numbers have in common."""
    return re.sub(r"\d+", "#", path)


def _run_lines(
    callee: _Callee,
    run: Sequence[PartFunction],
    given: Sequence[Expression],
    name: str,
) -> list[str]:
    """Prints calls that hand one array on, in a loop where they are many."""
    found = _looped(run)
    if len(found) == 1 and isinstance(found[0], _Loop):
        loop = found[0]
        again = [atom(name) if n == loop.carried else x for n, x in enumerate(given)]
        value = _applied(callee, run[0], loop.access, again, loop.key)
        target = f"{_target(run[0], [name], loop.key)} = "
        body = statement(target, value, WIDTH - len(INDENT))
        begun = []
        if given[loop.carried].text != name:
            begun = statement(f"{name} = ", given[loop.carried], WIDTH)
        return [*begun, f"for i in {loop.numbers}:", *indented(body)]
    lines: list[str] = []
    for number, function in enumerate(run):
        key, access = f'"{function.part.key}"', function.part.access
        value = _applied(callee, function, access, given, key)
        lines += statement(f"{_target(function, [name], key)} = ", value, WIDTH)
        if number == 0:
            carried = _carried(run[0], run[1]) if len(run) > 1 else None
            given = [atom(name) if n == carried else x for n, x in enumerate(given)]
    return lines


def _function_of(step: Step, functions: Sequence[PartFunction]) -> PartFunction | None:
    for function in functions:
        if step.outputs and step.outputs[0] in function.part.variables:
            return function
    return None


def _carried(before: PartFunction, after: PartFunction) -> int | None:
    """Returns which argument of a call is what the one before it returned."""
    pairs = list(zip(before.part.given, after.part.given, strict=False))
    places = [n for n, (_, later) in enumerate(pairs) if later is before.returned[0]]
    same = all(one is other for n, (one, other) in enumerate(pairs) if n not in places)
    return places[0] if len(places) == 1 and same else None


def _looped(chain: Sequence[PartFunction]) -> list[PartFunction | _Loop]:
    """Makes a chain a loop where it is long enough and its keys count up."""
    keys = access = None
    if len(chain) >= LEAST:
        keys = counting([function.part.key for function in chain])
        access = counting([function.part.access for function in chain])
    carried = _carried(chain[0], chain[1]) if len(chain) > 1 else None
    if keys is None or access is None or carried is None:
        return [*chain]
    return [
        _Loop(
            functions=tuple(chain),
            carried=carried,
            key=f'f"{keys[0]}"',
            access=_formatted(access[0]),
            numbers=range_text(keys[1], len(chain)),
        )
    ]


def _applied(
    callee: _Callee,
    function: PartFunction,
    access: str,
    arguments: Sequence[Expression],
    key: str,
) -> Expression:
    """Prints a call: with a part's leaves, what it is given, and its dictionaries."""
    tables = (atom(f"{table}[{key}]") for table in function.tables)
    settings = map(atom, callee.settings)
    return call(callee.name, atom(f"params{access}"), *arguments, *tables, *settings)


def _target(function: PartFunction, names: Sequence[str], key: str) -> str:
    """Returns what a call is assigned to: its values, and what it records."""
    records = [f"activations[{key}]"] * bool(function.marks.records)
    return ", ".join([*names, *records])


def _formatted(access: str) -> str:
    """Returns Python text that reads a place with the number `i` in it.

    Example:
        >>> _formatted('["blocks"][{i}]'), _formatted('["Block_{i}"]')
        ('["blocks"][i]', '[f"Block_{i}"]')
    """
    return re.sub(
        r'\["([^"]*\{i\}[^"]*)"\]', r'[f"\1"]', access.replace("[{i}]", "[i]")
    )
