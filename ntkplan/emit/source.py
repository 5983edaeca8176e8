"""The only printer: from a program to the text of a Python module."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.emit.body import PrintedBody, print_body
from ntkplan.emit.expression import INDENT, Expression, atom, call, method, statement
from ntkplan.emit.expression import sequence as bracketed
from ntkplan.emit.kernel_function import kernel_lines, pushed_lines
from ntkplan.emit.names import RESERVED
from ntkplan.emit.taps import WIDTH, dictionary, zeros
from ntkplan.ir.program import Cut, Program, Record, Tap

_WINDOWS = '''
def windows(x, window, strides, padding, input_dilation=None, window_dilation=None):
    """Cuts [..., *spatial, c] into windows [..., *positions, *window, c]."""
    input_dilation = input_dilation or (1,) * len(window)
    window_dilation = window_dilation or (1,) * len(window)
    spatial = range(x.ndim - 1 - len(window), x.ndim - 1)
    config = [(0, 0, 0)] * x.ndim
    for axis, (low, high), step in zip(spatial, padding, input_dilation):
        config[axis] = (low, high, step - 1)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    pieces = []
    for offset in itertools.product(*map(range, window)):
        index = [slice(None)] * x.ndim
        for axis, i, size, stride, step in zip(
            spatial, offset, window, strides, window_dilation
        ):
            last = x.shape[axis] - (size - 1 - i) * step
            index[axis] = slice(i * step, last, stride)
        pieces.append(x[tuple(index)])
    stacked = jnp.stack(pieces, axis=-2)
    return stacked.reshape(*stacked.shape[:-2], *window, stacked.shape[-1])
'''


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Module:
    """The emitted module.

    Attributes:
        text: Its source.
        constants: Arrays that are too large for the text, by their name in it.
        references: Functions that have no source, by their name in the text.
        reasons: For each of them, why it has none.
    """

    text: str
    constants: Mapping[str, Any]
    references: Mapping[str, Callable[..., Any]]
    reasons: Mapping[str, str]


def print_module(program: Program) -> Module:
    """Prints a program as the source of a module that imports only JAX."""
    printed = _print_forward(program)
    cuts = any(
        isinstance(item, Cut) for block in program.blocks for item in block.statements
    )
    sections = [
        _docstring(program),
        _imports(program, printed, cuts=cuts),
        *_constant_sections(printed),
        *(f"\n\n{helper.strip()}" for helper in printed.helpers),
        *([f"\n{_WINDOWS.rstrip()}"] if cuts else []),
        "\n\n" + "\n".join(_forward_lines(program, printed)),
    ]
    if program.blocks:
        sections.append("\n\n" + "\n".join(_derivative_lines(program)))
    if program.shifts:
        sections.append("\n\n" + "\n".join(pushed_lines(program)))
    sections.append("\n\n" + "\n".join(kernel_lines(program)))
    return Module(
        text="\n".join(sections) + "\n",
        constants=printed.constants,
        references=printed.references,
        reasons=printed.reasons,
    )


def _docstring(program: Program) -> str:
    lines = [f'"""{program.title}', ""]
    for note in program.notes:
        lines += textwrap.wrap(note, 88) or [""]
    return "\n".join([*lines, '"""', ""])


def _imports(program: Program, printed: PrintedBody, *, cuts: bool) -> str:
    body = "\n".join((*printed.lines, *printed.helpers))
    lines = ["import itertools"] if cuts else []
    if printed.constants:
        lines.append("import pathlib")
    lines += ["", "import jax", "import jax.numpy as jnp"][not lines :]
    if printed.constants:
        lines.append("import numpy")
    if "lax." in body.replace("jax.lax.", ""):
        lines.append("from jax import lax")
    return "\n".join(lines)


def _constant_sections(printed: PrintedBody) -> list[str]:
    if not printed.constants:
        return []
    names = sorted(printed.constants)
    lines = ["", 'CONSTANTS = numpy.load(pathlib.Path(__file__).with_suffix(".npz"))']
    lines += [f'{name} = jnp.asarray(CONSTANTS["{name}"])' for name in names]
    return ["\n".join(lines)]


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


def _print_forward(program: Program) -> PrintedBody:
    graph = program.graph
    hints: dict[Var, str] = {}
    after: dict[Var, str] = {}
    for tap in (*program.taps, *program.shifts):
        source = "taps" if tap in program.taps else "shifts"
        after[tap.variable] = _tap_text(tap, source)
        if not any(tap.variable is leaf.variable for leaf in graph.leaves):
            hints[tap.variable] = f"{tap.key}_out"
    keep = [variable for record in program.records for variable in record.variables]
    if isinstance(graph.output.variable, Var):
        keep.append(graph.output.variable)
        hints.setdefault(graph.output.variable, "logits")
    for record in program.records:
        for variable in record.variables:
            hints.setdefault(variable, record.key)
    return print_body(
        graph.body,
        input_names=[*program.leaf_names, *_data_names(program)],
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


def _forward_lines(program: Program, printed: PrintedBody) -> list[str]:
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
    if not program.records:
        return [*lines, *_indented(statement("return ", output, WIDTH))]
    table = dictionary(
        [
            (record.key, _record_expression(record, printed))
            for record in program.records
        ]
    )
    lines += _indented(statement("activations = ", table, WIDTH))
    return [*lines, *_indented([f"return {output.text}, activations"])]


def _forward_docstring(program: Program) -> list[str]:
    if program.records:
        return [
            f'{INDENT}"""Outputs of one example, and what its layers were given."""'
        ]
    return [f'{INDENT}"""Outputs of one example."""']


def _used_leaves(program: Program) -> set[Var]:
    read: set[Var] = set()
    for equation in program.graph.body.equations:
        read.update(equation.reads)
    read.update(tap.variable for tap in (*program.taps, *program.shifts))
    read.update(
        variable for variable in program.graph.body.outputs if isinstance(variable, Var)
    )
    read.update(v for record in program.records for v in record.variables)
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
        return _indented(
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


def _derivative_lines(program: Program) -> list[str]:
    """Prints the function that pulls the output basis back to the taps."""
    lines = [
        "def derivatives(params, x):",
        f'{INDENT}"""Activations and cotangents, d output / d tap, of one example."""',
    ]
    lines += _indented(zeros("taps", program.taps))
    if program.shifts:
        lines += _indented(zeros("shifts", program.shifts))
    arguments = "params, x, taps" + (", shifts" if program.shifts else "")
    function = f"lambda taps: forward({arguments})"
    if program.records:
        value = call("jax.vjp", atom(function), atom("taps"), has_aux="True")
        lines += _indented(statement("_, pull_back, activations = ", value, WIDTH))
    else:
        value = call("jax.vjp", atom(function), atom("taps"))
        lines += _indented(statement("_, pull_back = ", value, WIDTH))
    lines += _indented(_pull_lines(program))
    plain = all(
        len(item.taps) == 1 and item.key == item.taps[0] and _tap_shape(program, item)
        for item in program.cotangents
    ) and len(program.cotangents) == len(program.taps)
    if not plain:
        lines += _indented(_cotangent_table(program))
    returned = "activations, cotangents" if program.records else "{}, cotangents"
    return [*lines, f"{INDENT}return {returned}"]


def _tap_shape(program: Program, item: Any) -> bool:
    shapes = {tap.key: tap.shape for tap in program.taps}
    return shapes[item.taps[0]] == item.shape


def _pull_lines(program: Program) -> list[str]:
    """Prints the pull-back of the basis; groups of one vector have no axis."""
    spec, dtype = program.spec, f"jnp.{program.graph.output.dtype}"
    n_outputs = spec.group_size(tuple(range(len(spec.output_shape))))
    if spec.sums_logits:
        scale = repr(n_outputs**-0.5)
        vector = call("jnp.full", atom(str(n_outputs)), atom(scale), atom(dtype))
        return statement("(cotangents,) = ", call("pull_back", vector), WIDTH)
    if spec.n_basis == 1:
        vector = call("jnp.ones", atom("1"), atom(dtype))
        return statement("(cotangents,) = ", call("pull_back", vector), WIDTH)
    lines: list[str] = []
    basis = call("jnp.eye", atom(str(n_outputs)), dtype=dtype)
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    sizes = [size for size in (spec.n_diagonal, spec.n_trace, spec.n_full) if size > 1]
    if len(sizes) > 1 or list(order) != sorted(order):
        rank = len(spec.output_shape)
        shaped = method(basis, "reshape", *map(str, (*spec.output_shape, n_outputs)))
        if list(order) != sorted(order):
            shaped = method(shaped, "transpose", *map(str, (*order, rank)))
        lines += statement("basis = ", shaped, WIDTH)
        lines += statement(
            "basis = ",
            method(atom("basis"), "reshape", *map(str, (*sizes, n_outputs))),
            WIDTH,
        )
        basis = atom("basis")
    mapped = "pull_back"
    for _ in sizes:
        mapped = f"jax.vmap({mapped})"
    return [*lines, *statement("(cotangents,) = ", call(mapped, basis), WIDTH)]


def _cotangent_table(program: Program) -> list[str]:
    """Prints cotangents with one axis for each label, stacked for several uses."""
    spec = program.spec
    lead = [size for size in (spec.n_diagonal, spec.n_trace, spec.n_full) if size > 1]
    if spec.sums_logits:
        lead = []
    shapes = {tap.key: tap.shape for tap in program.taps}
    entries: list[tuple[str, Expression]] = []
    for item in program.cotangents:
        parts: list[Expression] = []
        for key in item.taps:
            part = atom(f'cotangents["{key}"]')
            if shapes[key] != item.shape:
                part = method(part, "reshape", *map(str, (*lead, *item.shape)))
            parts.append(part)
        value = parts[0]
        if len(parts) > 1:
            stacked = bracketed(parts, brackets="[]")
            value = call("jnp.stack", stacked, atom(f"axis={len(lead)}"))
        entries.append((item.key, value))
    table = dictionary(entries)
    return statement("cotangents = ", table, WIDTH)


def _indented(lines: Sequence[str]) -> list[str]:
    return [INDENT + line for line in lines]
