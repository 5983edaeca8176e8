"""The emitted forward pass of one example, with taps and records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.emit.body import PrintedBody, print_body
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    call,
    indented,
    method,
    statement,
    subscript,
)
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.names import RESERVED
from ntkplan.emit.taps import WIDTH, dictionary
from ntkplan.ir.program import Program, Record, Tap
from ntkplan.ir.use import Crop


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
    graph = program.graph
    hints: dict[Var, str] = {}
    after: dict[Var, str] = {}
    inside: dict[Var, str] = {}
    for tap in (*program.taps, *program.shifts):
        source = "taps" if tap in program.taps else "shifts"
        if any(tap.variable is variable for variable in graph.taps):
            inside[tap.variable] = _tap_text(tap, source)
            continue
        after[tap.variable] = _tap_text(tap, source)
        if not any(tap.variable is leaf.variable for leaf in graph.leaves):
            hints[tap.variable] = f"{tap.key}_out"
    records = (*program.records, *program.factors)
    keep = [variable for record in records for variable in record.variables]
    if isinstance(graph.output.variable, Var):
        keep.append(graph.output.variable)
        hints.setdefault(graph.output.variable, "logits")
    for record in records:
        for variable in record.variables:
            hints.setdefault(variable, record.key)
    return print_body(
        graph.body,
        input_names=[
            *program.leaf_names,
            *_data_names(program),
            *(inside[variable] for variable in graph.taps),
        ],
        name_hints=hints,
        after=after,
        keep=list(dict.fromkeys(keep)),
        taken=RESERVED | set(program.leaf_names),
    )


def _tap_text(tap: Tap, source: str) -> str:
    text = f'{source}["{tap.key}"]'
    shape = array_shape(tap.variable)
    if tuple(shape) == tap.shape:
        return text
    if tuple(shape) == (1, *tap.shape):
        return f"{text}[None]"
    return f"{text}.reshape({', '.join(map(str, shape))})"


def forward_lines(program: Program, printed: PrintedBody) -> list[str]:
    """Prints the function of one example, around its equations."""
    arguments = ["params", "x"]
    if program.taps:
        arguments.append("taps")
    if program.shifts:
        arguments.append("shifts")
    used = _used_leaves(program)
    lines = [
        f"def forward({', '.join(arguments)}):",
        *_forward_docstring(program),
        *_unpacking(program, used),
        *(INDENT + line if line else line for line in printed.lines),
    ]
    output = _output_expression(program, printed)
    if not program.records and not program.factors:
        return [*lines, *indented(statement("return ", output, WIDTH))]
    returned = "activations"
    lines += _table_lines("activations", program.records, printed)
    if program.factors:
        lines += _table_lines("factors", program.factors, printed)
        returned = "(activations, factors)"
    return [*lines, *indented([f"return {output.text}, {returned}"])]


def _table_lines(
    name: str, records: Sequence[Record], printed: PrintedBody
) -> list[str]:
    table = dictionary(
        [(record.key, _record_expression(record, printed)) for record in records]
    )
    return indented(statement(f"{name} = ", table, WIDTH))


def _forward_docstring(program: Program) -> list[str]:
    of = "the batch" if program.batch_axis is None else "one example"
    if program.records or program.factors:
        return [f'{INDENT}"""Outputs of {of}, and what its layers were given."""']
    return [f'{INDENT}"""Outputs of {of}."""']


def _used_leaves(program: Program) -> set[Var]:
    read: set[Var] = set()
    for equation in program.graph.body.equations:
        read.update(equation.reads)
    read.update(tap.variable for tap in (*program.taps, *program.shifts))
    read.update(
        variable for variable in program.graph.body.outputs if isinstance(variable, Var)
    )
    records = (*program.records, *program.factors)
    read.update(v for record in records for v in record.variables)
    return read


def _unpacking(program: Program, used: set[Var]) -> list[str]:
    """Reads the leaves out of `params`, by their paths where paths can be written."""
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
    for name, leaf in zip(program.leaf_names, leaves, strict=True):
        if leaf.variable not in used:
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
        lines[-1] = f"{INDENT}{', '.join(held)} = {', '.join(values)}"
    return lines


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


def _record_expression(record: Record, printed: PrintedBody) -> Expression:
    parts = [_one_record(record, variable, printed) for variable in record.variables]
    if len(parts) == 1:
        return parts[0]
    return call("jnp.stack", bracketed(parts, brackets="[]"))


def _one_record(record: Record, variable: Var, printed: PrintedBody) -> Expression:
    value = atom(printed.names[variable])
    shape = tuple(array_shape(variable))
    if record.order is not None:
        value = method(value, "transpose", *map(str, record.order))
        shape = tuple(shape[axis] for axis in record.order)
    if record.crop is not None:
        if shape != record.crop.shape:
            value = method(value, "reshape", *map(str, record.crop.shape))
        value = cropped(value, record.crop, lead=0)
        shape = tuple(len(range(*bounds)) for bounds in record.crop.slices)
    if shape == record.shape:
        return value
    if shape == (1, *record.shape):
        if value.text.endswith("[None]"):
            return atom(value.text.removesuffix("[None]"))
        return Expression(text=f"{value.text}[0]")
    return (
        method(value, "reshape", *map(str, record.shape))
        if record.shape
        else method(value, "reshape", "()")
    )


def cropped(value: Expression, crop: Crop, *, lead: int) -> Expression:
    """Takes the part of an array that a crop says, after some leading axes."""
    items = [":"] * lead
    for size, (start, stop, step) in zip(crop.shape, crop.slices, strict=True):
        if (start, stop, step) == (0, size, 1):
            items.append(":")
            continue
        text = f"{start or ''}:{stop if stop < size else ''}"
        items.append(text if step == 1 else f"{text}:{step}")
    while items and items[-1] == ":":
        items.pop()
    return subscript(value, *items) if items else value
