"""The only printer: from a program to the text of a Python module."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ntkplan.emit.body import PrintedBody
from ntkplan.emit.calls import block_sections, calls_of
from ntkplan.emit.derivatives import derivative_lines
from ntkplan.emit.forward import forward_lines, print_forward
from ntkplan.emit.halves import halved_lines
from ntkplan.emit.helpers import cuts_windows, helper_sections, multiplies_rows
from ntkplan.emit.kernel_function import kernel_lines, pushed_lines
from ntkplan.emit.layout import LINE_WIDTH
from ntkplan.emit.names import RESERVED
from ntkplan.emit.sides import LAYOUT_IMPORT, side_sections
from ntkplan.emit.tile_helpers import tile_helpers
from ntkplan.emit.tiles import tiled_lines
from ntkplan.emit.wrapping import wrapped
from ntkplan.emit.zero_taps import zero_functions
from ntkplan.ir.program import Program

_DEFINED = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)


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
    printed = print_forward(program)
    defined = [name for text in printed.helpers for name in _DEFINED.findall(text)]
    calls = calls_of(program, {*RESERVED, *defined})
    sections = [
        _docstring(program),
        _imports(
            program,
            printed,
            standard=["itertools"] * cuts_windows(program.blocks)
            + ["math"] * multiplies_rows(program.blocks),
        ),
        *_constant_sections(printed),
        *(f"\n\n{helper.strip()}" for helper in printed.helpers),
        *helper_sections(
            program.blocks,
            with_options=program.sums_dtype is not None,
            halved=program.lower_blocks > 1,
            ordered=program.orders_axes,
        ),
        *(f"\n{text.rstrip()}" for text in tile_helpers(program)),
        "\n\n" + "\n".join(forward_lines(program, printed)),
    ]
    sections += zero_functions(program)
    if program.blocks:
        sections.append("\n\n" + "\n".join(derivative_lines(program)))
    if program.shifts:
        sections.append("\n\n" + "\n".join(pushed_lines(program)))
    others = (*side_sections(program), *block_sections(calls))
    sections += [f"\n\n{section}" for section in others]
    if program.tiling is not None:
        kernel = tiled_lines(program, calls)
    elif program.lower_blocks > 1:
        kernel = halved_lines(program, calls)
    else:
        kernel = kernel_lines(program, calls)
    sections.append("\n\n" + "\n".join(kernel))
    return Module(
        text="\n".join(sections) + "\n",
        constants=printed.constants,
        references=printed.references,
        reasons=printed.reasons,
    )


def _docstring(program: Program) -> str:
    lines = [f'"""{program.title}', ""]
    for note in program.notes:
        lines += wrapped(note, LINE_WIDTH) or [""]
    return "\n".join([*lines, '"""', ""])


def _imports(program: Program, printed: PrintedBody, *, standard: Sequence[str]) -> str:
    body = "\n".join((*printed.lines, *printed.helpers))
    lines = [f"import {name}" for name in standard]
    if printed.constants:
        lines.append("import pathlib")
    lines += ["", "import jax", "import jax.numpy as jnp"][not lines :]
    if printed.constants:
        lines.append("import numpy")
    if "lax." in body.replace("jax.lax.", ""):
        lines.append("from jax import lax")
    if program.orders_axes:
        lines.append(LAYOUT_IMPORT)
    return "\n".join(lines)


def _constant_sections(printed: PrintedBody) -> list[str]:
    if not printed.constants:
        return []
    names = sorted(printed.constants)
    lines = ["", 'CONSTANTS = numpy.load(pathlib.Path(__file__).with_suffix(".npz"))']
    lines += [f'{name} = jnp.asarray(CONSTANTS["{name}"])' for name in names]
    return ["\n".join(lines)]
