"""The function that is printed for parts of the model that are alike, and its calls."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from ntkplan._jax import Var
from ntkplan.emit.draft import Draft
from ntkplan.emit.expression import INDENT, apart, atom, call, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.marks import Marks, marks_of, own
from ntkplan.emit.node_names import short_key
from ntkplan.emit.optional_step import PartText, statements_of
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.value import (
    Value,
    array_value,
    aval_of,
)
from ntkplan.emit.record_table import record_lines, record_texts
from ntkplan.emit.settings import Settled
from ntkplan.emit.user_calls import UserCalls
from ntkplan.emit.wrapping import wrapped
from ntkplan.emit.writer import write_body, write_function
from ntkplan.ir.equation import Body
from ntkplan.ir.program import Part, Program

# What the values that a part is given are called, the first of a kind without a number.
_GIVEN_NAMES = {"b": "mask", "i": "indices", "u": "indices"}

# A place three levels deep: the tree that it begins with, and the tree's key.
_DEEP = re.compile(r'(params\["([A-Za-z_]\w*)"\])(?:\[[^]]*\]|\.\w+){2}')


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PartFunction:
    """A part with its steps and marks.

    Attributes:
        program: What it is a part of.
        part: The part.
        marks: What is added in it, and recorded by it.
        returned: The values that it returns.
        calls: The user's functions in which the model's values are computed.
    """

    program: Program
    part: Part
    marks: Marks
    returned: tuple[Var, ...]
    calls: UserCalls

    @property
    def tables(self) -> tuple[str, ...]:
        """The dictionaries of which the function takes its own."""
        key, program = self.part.key, self.program
        sources = (("taps", program.taps), ("shifts", program.shifts))
        return tuple(name for name, taps in sources if own(taps, key))

    @property
    def form(self) -> tuple[object, ...]:
        """What the functions of parts must share to be one function."""
        taps = (*self.program.taps, *self.program.shifts)
        keys = [tap.key for tap in own(taps, self.part.key)]
        records = [record.key for record in self.marks.records]
        return (self.part.alike, *keys, None, *records)


def part_functions(program: Program) -> list[PartFunction]:
    """Returns the functions of a program's parts, in the order in which they run."""
    outside = {
        variable
        for record in (*own(program.records, ""), *program.factors)
        for variable in record.variables
    }
    calls = UserCalls(program.graph.body)
    return [
        PartFunction(
            program=program,
            calls=calls,
            part=part,
            marks=marks_of(program, part.key),
            returned=tuple(
                dict.fromkeys(
                    (*part.returned, *_recorded_outside(program, part, outside))
                )
            ),
        )
        for part in program.parts
    ]


def _recorded_outside(
    program: Program, part: Part, outside: Collection[Var]
) -> list[Var]:
    inputs = {leaf.variable for leaf in program.graph.leaves} | {*program.graph.taps}
    equations = program.graph.body.equations
    return [
        variable
        for equation in equations
        for variable in equation.outputs
        if variable in outside and variable in part.variables and variable not in inputs
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inside:
    """What a part's function takes, and its statements.

    Attributes:
        given: Names of the values that it is given.
        lines: Its statements.
        text: What they are made of; None where they are more than assignments.
    """

    given: tuple[str, ...]
    lines: tuple[str, ...]
    text: PartText | None


def inside_of(
    function: PartFunction, steps: Sequence[Step], body: Body, outer: Context
) -> Inside:
    """Prints what a part's function does.

    Args:
        function: The part.
        steps: The part's steps.
        body: What they are of.
        outer: Where the function is called.
    """
    part, marks = function.part, function.marks
    context = Context(
        module=outer.module,
        local={"params", "taps", "shifts", "activations"},
        width=WIDTH,
        deciding=True,
        write_function=write_function,
    )
    aliases = _aliases(function, context)
    inputs = _local_inputs(function, aliases)
    given: list[str] = []
    for variable in part.given:
        kind = aval_of(variable).dtype.kind
        text = context.claim(_GIVEN_NAMES.get(kind, "x"))
        given.append(text)
        inputs[variable] = array_value(text, aval_of(variable))
    draft = Draft(
        steps=tuple(steps),
        visible=frozenset((*marks.after, *marks.recorded, *function.returned)),
        hints=marks.hints,
        after=marks.after,
        returned_by=function.calls.returned_by(part.calls),
    )
    inner = Body(
        inputs=(), constants=body.constants, equations=(), outputs=function.returned
    )
    writer = write_body(inner, draft, context.module, context.local, WIDTH, inputs)
    names = {key: value.expression.text for key, value in writer.values.items()}
    lines = [*_unpacked(aliases), *apart(writer.lines()), *_ending(function, names)]
    text = _text(function, aliases, writer.lines(), names)
    return Inside(given=tuple(given), lines=tuple(lines), text=text)


def _text(
    function: PartFunction,
    aliases: Mapping[str, str],
    lines: Sequence[str],
    names: Mapping[Var, str],
) -> PartText | None:
    """Returns what a part's function is made of, if that is assignments alone."""
    body = statements_of(lines)
    if body is None or not all(text.startswith("params[") for text in aliases):
        return None
    return PartText(
        trees=aliases,
        body=body,
        records=record_texts(function.marks.records, names),
        returned=tuple(names[variable] for variable in function.returned),
    )


def source_of(
    functions: Sequence[PartFunction], given: Sequence[str], body: Settled, name: str
) -> str:
    """Prints the function of parts that are alike.

    Args:
        functions: The parts.
        given: Names of the values that it is given.
        body: Its statements, with parameters for what the parts differ in.
        name: Its name.
    """
    first = functions[0]
    arguments = ("params", *given, *first.tables, *body.parameters)
    header = call(name, *map(atom, arguments))
    header = dataclasses.replace(header, text=f"{header.text}:", closing="):")
    lines = [
        *statement("def ", header, WIDTH + len(INDENT)),
        *indented(_docstring(functions)),
        *indented(body.lines),
    ]
    return "\n".join(lines)


def _leaf_texts(function: PartFunction) -> dict[Var, str]:
    """Returns what reads the leaves of a part from its `params`."""
    part = function.part
    return {
        leaf.variable: f"params{leaf.access.removeprefix(part.access)}"
        for leaf in function.program.graph.leaves
        if leaf.variable in part.variables and leaf.access is not None
    }


def _aliases(function: PartFunction, context: Context) -> dict[str, str]:
    """Names the trees from which a part's leaves are read, where they lie deep.

    Returns:
        The names, by the texts that they stand for.
    """
    starts = [_DEEP.match(text) for text in _leaf_texts(function).values()]
    found = {start[1]: start[2] for start in starts if start}
    return {text: context.claim(short_key(key)) for text, key in found.items()}


def _unpacked(aliases: Mapping[str, str]) -> list[str]:
    if not aliases:
        return []
    together = f"{', '.join(aliases.values())} = {', '.join(aliases)}"
    if len(together) <= WIDTH:
        return [together]
    return [
        line
        for text, name in aliases.items()
        for line in statement(f"{name} = ", atom(text), WIDTH)
    ]


def _local_inputs(
    function: PartFunction, aliases: Mapping[str, str]
) -> dict[Var, Value]:
    """Returns what prints for a part's leaves and for the taps in its loops."""
    texts = dict(function.marks.inside)
    for variable, text in _leaf_texts(function).items():
        start = next((start for start in aliases if text.startswith(start)), "")
        texts[variable] = aliases.get(start, "") + text.removeprefix(start)
    return {
        variable: array_value(text, aval_of(variable))
        for variable, text in texts.items()
    }


def _docstring(functions: Sequence[PartFunction]) -> list[str]:
    paths = [function.part.path for function in functions]
    records = bool(functions[0].marks.records)
    places = f"`{paths[0]}`"
    if len(paths) > 1:
        places += f" to `{paths[-1]}`, {len(paths)} parts"
    outputs = "outputs" if len(functions[0].returned) > 1 else "output"
    given = ", and what its layers were given" * records
    for text in (f"{places}: {outputs}{given}.", f"{places}."):
        if len(text) + len('""""""') <= WIDTH:
            return [f'"""{text}"""']
    return [
        f'"""Some parts: {outputs}{given}.',
        "",
        *wrapped(f"{places}.", WIDTH),
        '"""',
    ]


def _ending(function: PartFunction, names: Mapping[Var, str]) -> list[str]:
    """Prints the dictionary of what is recorded, and what is returned."""
    returned = [names[variable] for variable in function.returned]
    if not function.marks.records:
        return [f"return {', '.join(returned)}"]
    lines = record_lines("activations = ", function.marks.records, names)
    return [*lines, f"return {', '.join([*returned, 'activations'])}"]
