"""The function that is printed for parts of the model that are alike, and its calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from ntkplan._jax import Var
from ntkplan.emit.expression import INDENT, atom, call, indented, statement
from ntkplan.emit.marks import Marks, marks_of, own
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.value import (
    Value,
    array_value,
    aval_of,
)
from ntkplan.emit.record_table import record_lines
from ntkplan.emit.settings import Settled
from ntkplan.emit.taps import WIDTH
from ntkplan.emit.writer import Draft, write_body, write_function
from ntkplan.ir.equation import Body
from ntkplan.ir.program import Part, Program

# What the values that a part is given are called, the first of a kind without a number.
_GIVEN_NAMES = {"b": "mask", "i": "indices", "u": "indices"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PartFunction:
    """A part with its steps and marks.

    Attributes:
        program: What it is a part of.
        part: The part.
        marks: What is added in it, and recorded by it.
        returned: The values that it returns.
    """

    program: Program
    part: Part
    marks: Marks
    returned: tuple[Var, ...]

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
    return [
        PartFunction(
            program=program,
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
    """

    given: tuple[str, ...]
    lines: tuple[str, ...]


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
    inputs = _local_inputs(function)
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
    )
    inner = Body(
        inputs=(), constants=body.constants, equations=(), outputs=function.returned
    )
    writer = write_body(inner, draft, context.module, context.local, WIDTH, inputs)
    names = {key: value.expression.text for key, value in writer.values.items()}
    return Inside(
        given=tuple(given), lines=(*writer.lines(), *_ending(function, names))
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


def _local_inputs(function: PartFunction) -> dict[Var, Value]:
    """Returns what prints for a part's leaves and for the taps in its loops."""
    part = function.part
    texts = dict(function.marks.inside)
    for leaf in function.program.graph.leaves:
        if leaf.variable in part.variables and leaf.access is not None:
            texts[leaf.variable] = f"params{leaf.access.removeprefix(part.access)}"
    return {
        variable: array_value(text, aval_of(variable))
        for variable, text in texts.items()
    }


def _docstring(functions: Sequence[PartFunction]) -> list[str]:
    paths = [function.part.path for function in functions]
    count, records = len(paths), bool(functions[0].marks.records)
    places = f"`{paths[0]}`" if count == 1 else f"`{paths[0]}` to `{paths[-1]}`"
    which = places if count == 1 else f"one of {count} parts, {places}"
    given = ", and what its layers were given" * records
    whole = f'"""Output of {which}{given}."""'
    if len(whole) <= WIDTH:
        return [whole]
    these = "part is" if count == 1 else f"{count} parts are"
    return [f'"""Output of a part{given}.', "", f"The {these} {places}.", '"""']


def _ending(function: PartFunction, names: Mapping[Var, str]) -> list[str]:
    """Prints the dictionary of what is recorded, and what is returned."""
    returned = [names[variable] for variable in function.returned]
    if not function.marks.records:
        return [f"return {', '.join(returned)}"]
    lines = record_lines("activations = ", function.marks.records, names)
    return [*lines, f"return {', '.join([*returned, 'activations'])}"]
