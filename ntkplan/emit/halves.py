"""The emitted kernel function that computes half of a symmetric kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.calls import Call
from ntkplan.emit.expression import INDENT, atom, call, indented, statement
from ntkplan.emit.kernel_function import (
    block_function,
    result_lines,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.precision import jit_lines
from ntkplan.emit.remarks import comment_lines
from ntkplan.emit.sides import mapped_derivatives
from ntkplan.ir.program import Program
from ntkplan.methods.network import DIAGONAL, EXAMPLES, FULL


def halved_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints `kernel`, the blocks of which end at the diagonal."""
    labels = program.kernel_labels
    axes = tuple(labels.index(label) for label in EXAMPLES)
    swapped = mirrored_axes(labels)
    factors = ", factors" if program.factors else ""
    unpacked = f"*side1{factors}" if factors else "side1"
    others = "*side2, _" if factors else "side2"
    block = "kernel_block"
    if factors:
        block = "lambda own, upto: kernel_block(own, upto, factors)"
    blocks = map(str, (program.lower_blocks, axes, swapped))
    halves = call("from_lower_blocks", *map(atom, (block, "side1", *blocks)))
    body = [
        f'"""Returns the kernel, {program.spec.describe()}."""',
        f"sides = {mapped_derivatives(program)}",
        f"{unpacked} = sides(params, x1)",
        "if x2 is None:",
        *indented(statement("theta = ", halves, WIDTH - len(INDENT))),
        "else:",
        f"{INDENT}{others} = sides(params, x2)",
        f"{INDENT}theta = kernel_block(side1, side2{factors})",
    ]
    if program.shifts:
        body += ["", *comment_lines(program.pushed_comments, WIDTH)]
        body.append("theta += pushed(params, x1, x1 if x2 is None else x2)")
    body += ["", *result_lines(program)]
    return [
        *block_function(program, calls, in_loop=False),
        "",
        "",
        *jit_lines(program.precision),
        "def kernel(params, x1, x2=None):",
        *indented(body),
    ]


def mirrored_axes(labels: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the order of axes that mirrors the kernel at its diagonal."""
    partner = {
        EXAMPLES[0]: EXAMPLES[1],
        EXAMPLES[1]: EXAMPLES[0],
        FULL[0]: FULL[1],
        FULL[1]: FULL[0],
        DIAGONAL: DIAGONAL,
    }
    return tuple(labels.index(partner[label]) for label in labels)
