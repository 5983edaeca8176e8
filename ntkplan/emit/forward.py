"""The emitted forward pass of one example, with taps and records."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ntkplan._jax import Var, array_dtype
from ntkplan.emit.body import PrintedBody, print_body
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    apart,
    atom,
    indented,
    method,
    statement,
)
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.marks import marks_of, own
from ntkplan.emit.names import RESERVED
from ntkplan.emit.part_calls import with_calls
from ntkplan.emit.part_function import part_functions
from ntkplan.emit.primitives.context import IDENTIFIER
from ntkplan.emit.record_table import record_lines
from ntkplan.ir.program import Program

# Columns that the place of a leaf in `params` may have where it is read.
_LONGEST_PLACE = 40


def _data_names(program: Program) -> list[str]:
    """Returns the text for every array of `x`, with its example axis of length one."""
    texts: list[str] = []
    for number, access in enumerate(program.data_access):
        base = f"jax.tree.leaves(x)[{number}]" if access is None else f"x{access}"
        if program.batch_axis == 0:
            base = f"{base}[None]"
        elif program.batch_axis is not None:
            base = f"jnp.expand_dims({base}, {program.batch_axis})"
        texts.append(base)
    return texts


def print_forward(program: Program) -> PrintedBody:
    """Prints the model's equations, taps added and what is recorded kept."""
    graph, marks = program.graph, marks_of(program, "")
    hints = dict(marks.hints)
    keep = list(marks.recorded)
    functions = part_functions(program)
    if isinstance(graph.output.variable, Var):
        keep.append(graph.output.variable)
        hints.setdefault(graph.output.variable, "logits")
    returned = {v for function in functions for v in function.returned}
    marked = {v for function in functions for v in function.marks.after}
    recorded = {v for function in functions for v in function.marks.recorded}
    given = {v for function in functions for v in function.part.given}
    return print_body(
        graph.body,
        input_names=[
            *_leaf_texts(program),
            *_data_names(program),
            *(marks.inside.get(variable, "") for variable in graph.taps),
        ],
        name_hints=hints,
        after=marks.after,
        keep=list(dict.fromkeys(keep)),
        inside_parts=marked | recorded | returned | given,
        taken=RESERVED | set(program.leaf_names) | {part.key for part in program.parts},
        outlined=lambda steps: with_calls(steps, functions, graph.body, keep),
        turns_kernels=program.turns_kernels,
    )


def forward_lines(program: Program, printed: PrintedBody) -> list[str]:
    """Prints the function of one example, around its equations."""
    arguments = ["params", "x"]
    if program.taps:
        arguments.append("taps")
    if program.shifts:
        arguments.append("shifts")
    body = apart([*printed.lines, *_ending(program, printed)])
    if _has_records(program):
        body.insert(0, "activations = {}")
    return [
        f"def forward({', '.join(arguments)}):",
        *_forward_docstring(program),
        *_unpacking(program, _identifiers("\n".join(body))),
        *(INDENT + line if line else line for line in body),
    ]


def _identifiers(code: str) -> set[str]:
    """Returns the names in code, those in strings left out."""
    return set(IDENTIFIER.findall(re.sub(r'"[^"]*"', "", code)))


def _ending(program: Program, printed: PrintedBody) -> list[str]:
    """Prints the dictionaries of what is recorded, and what is returned."""
    output = _output_expression(program, printed)
    if not program.records and not program.factors:
        return statement("return ", output, WIDTH)
    lines: list[str] = []
    returned = "activations"
    records = own(program.records, "")
    if records or not program.records:
        prefix = "activations |= " if _has_records(program) else "activations = "
        lines += record_lines(prefix, records, printed.names)
    if program.factors:
        lines += record_lines("factors = ", program.factors, printed.names)
        returned = "(activations, factors)"
    return [*lines, f"return {output.text}, {returned}"]


def _has_records(program: Program) -> bool:
    """Says whether parts of the model record what their layers are given."""
    return any(record.part for record in program.records)


def _forward_docstring(program: Program) -> list[str]:
    of = "the batch" if program.batch_axis is None else "one example"
    if program.records or program.factors:
        return [f'{INDENT}"""Outputs of {of}, and what its layers were given."""']
    return [f'{INDENT}"""Outputs of {of}."""']


def _leaf_texts(program: Program) -> list[str]:
    """Returns Python text for every leaf: its name, or its place where it is short."""
    readers: dict[Var, int] = {}
    for equation in program.graph.body.equations:
        for variable in equation.reads:
            readers[variable] = readers.get(variable, 0) + 1
    changed = {tap.variable for tap in (*program.taps, *program.shifts)}
    if any(leaf.access is None for leaf in program.graph.leaves):
        return list(program.leaf_names)
    texts: list[str] = []
    for name, leaf in zip(program.leaf_names, program.graph.leaves, strict=True):
        text = f"params{leaf.access}"
        once = readers.get(leaf.variable, 0) == 1 and leaf.variable not in changed
        short = leaf.access is not None and len(text) <= _LONGEST_PLACE
        texts.append(text if once and short else name)
    return texts


def _unpacking(program: Program, used: Collection[str]) -> list[str]:
    """Reads the leaves with used names out of `params`, by their paths if they can."""
    leaves = program.graph.leaves
    if any(leaf.access is None for leaf in leaves):
        names = bracketed(list(program.leaf_names))
        target = names.text.strip("()") if len(leaves) > 1 else f"({names.text[1:-1]})"
        one_line = f"{target} = jax.tree.leaves(params)"
        if len(one_line) <= WIDTH:
            return [INDENT + one_line]
        return indented(
            [
                "(",
                *(f"{INDENT}{name}," for name in program.leaf_names),
                ") = jax.tree.leaves(params)",
            ]
        )
    lines: list[str] = []
    held: list[str] = []
    values: list[str] = []
    parent = None
    for name, leaf in zip(_leaf_texts(program), leaves, strict=True):
        if name not in used:
            continue
        value = f"params{leaf.access}"
        joined = f"{', '.join([*held, name])} = {', '.join([*values, value])}"
        belongs = leaf.path.rpartition("/")[0]
        if not held or belongs != parent or len(joined) > WIDTH:
            held, values = [], []
            lines.append("")
        parent = belongs
        held.append(name)
        values.append(value)
        lines[-1] = f"{', '.join(held)} = {', '.join(values)}"
    return indented([part for line in lines for part in _split(line)])


def _split(assignment: str) -> list[str]:
    """Splits an assignment of one leaf that is too long for a line."""
    target, _, value = assignment.partition(" = ")
    return statement(f"{target} = ", atom(value), WIDTH)


def _output_expression(program: Program, printed: PrintedBody) -> Expression:
    variable = program.graph.output.variable
    shape = program.graph.output.shape
    n_outputs = 1
    for size in shape:
        n_outputs *= size
    value = _value(printed, variable)
    if program.batch_axis is not None and len(shape) == 1:
        return Expression(text=f"{value.text}[0]")
    if program.batch_axis is None and len(shape) == 1:
        return value
    return method(value, "reshape", str(n_outputs))


def _value(printed: PrintedBody, variable: Any) -> Expression:
    if isinstance(variable, Var):
        return atom(printed.names[variable])
    dtype = array_dtype(variable)
    return atom(f"jnp.asarray({variable.val}, {str(dtype)!r})".replace("'", '"'))
