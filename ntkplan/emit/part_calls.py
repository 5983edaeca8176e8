"""Calls of the functions of parts: one by one, or in a loop from part to part."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ntkplan._jax import Var
from ntkplan.emit.expression import INDENT, Expression, atom, call, indented, statement
from ntkplan.emit.numbering import LEAST, counting, numbers
from ntkplan.emit.part_function import PartFunction, source_of
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.value import Unpacked, Value, Written, exact
from ntkplan.emit.taps import WIDTH
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
    result: list[Step] = []
    for item in calls.in_order():
        result.append(item if isinstance(item, Step) else calls.step(item))
    return result


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

    def in_order(self) -> list[Step | list[PartFunction]]:
        """Returns the steps and, between them, chains of calls."""
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
        return [part for item in found for part in _looped(item)]

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

    def step(self, chain: Sequence[PartFunction]) -> Step:
        """Returns the step that makes a call, or a chain of them."""
        return self._call(chain[0]) if len(chain) == 1 else self._loop(chain)

    def _name(self, function: PartFunction, context: Context) -> str:
        steps = self._steps_of[function.part.key]
        return context.module.helper(
            ("part", function.part.key),
            function.part.function,
            lambda name: source_of(function, steps, self._body, name, context),
        )

    def _call(self, function: PartFunction) -> Step:
        part = function.part

        def write(values: Sequence[Value], context: Context) -> Unpacked:
            key = f'"{part.key}"'
            value = _applied(
                self._name(function, context),
                function,
                f"params{part.access}",
                [exact(value) for value in values],
                key,
            )
            records = [f"activations[{key}]"] * bool(function.marks.records)
            return Unpacked(
                expression=value,
                target=lambda names: ", ".join([*names, *records]),
            )

        return Step(inputs=part.given, outputs=function.returned, write=write)

    def _loop(self, chain: Sequence[PartFunction]) -> Step:
        first, last = chain[0], chain[-1]
        carried = _carried(chain[0], chain[1])
        keys = counting([function.part.key for function in chain])
        access = counting([function.part.access for function in chain])
        if carried is None or keys is None or access is None:
            raise InternalError("a loop over parts that do not count up", chain)
        key, own = f'f"{keys[0]}"', _formatted(access[0])
        is_free = self._readers.get(first.part.given[carried]) == 1

        def write(values: Sequence[Value], context: Context) -> Written:
            called = [self._name(function, context) for function in chain]

            def lines(names: Sequence[str]) -> list[str]:
                arguments = [exact(value) for value in values]
                start = statement(f"{names[0]} = ", arguments[carried], WIDTH)
                if own_name == arguments[carried].text:
                    start = []
                arguments[carried] = atom(names[0])

                def assigned(at: int, leaves: str, key: str, width: int) -> list[str]:
                    value = _applied(called[at], first, leaves, arguments, key)
                    records = [f"activations[{key}]"] * bool(first.marks.records)
                    target = f"{', '.join([names[0], *records])} = "
                    return statement(target, value, width)

                if len(set(called)) == 1:
                    loop = assigned(0, f"params{own}", key, WIDTH - len(INDENT))
                    count = numbers(keys[1], len(chain))
                    return [*start, f"for i in {count}:", *indented(loop)]
                # The same steps, of shapes that stand in their text: one by one.
                parts = [function.part for function in chain]
                for at, part in enumerate(parts):
                    start += assigned(
                        at, f"params{part.access}", f'"{part.key}"', WIDTH
                    )
                return start

            text = exact(values[carried]).text
            own_name = text if _PLAIN_NAME.fullmatch(text) and is_free else ""
            names = (own_name,) if own_name else ()
            return Written(lines=lines, expression=atom(called[0]), names=names)

        given = first.part.given
        return Step(
            inputs=given, outputs=last.returned, write=write, n_captured=len(given)
        )


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


def _looped(item: Step | list[PartFunction]) -> list[Step | list[PartFunction]]:
    """Leaves a chain together where a loop over it is shorter and its keys count up."""
    if isinstance(item, Step) or len(item) == 1:
        return [item]
    keys = counting([function.part.key for function in item])
    access = counting([function.part.access for function in item])
    if len(item) >= LEAST and keys and access:
        return [item]
    return [[function] for function in item]


def _applied(
    name: str,
    function: PartFunction,
    leaves: str,
    arguments: Sequence[Expression],
    key: str,
) -> Expression:
    dictionaries = [f"{table}[{key}]" for table in function.tables]
    return call(name, atom(leaves), *arguments, *map(atom, dictionaries))


def _formatted(access: str) -> str:
    """Returns Python text that reads a place with the number `i` in it.

    Example:
        >>> _formatted('["blocks"][{i}]'), _formatted('["Block_{i}"]')
        ('["blocks"][i]', '[f"Block_{i}"]')
    """
    return re.sub(
        r'\["([^"]*\{i\}[^"]*)"\]', r'[f"\1"]', access.replace("[{i}]", "[i]")
    )
