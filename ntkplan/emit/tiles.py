"""The emitted kernel function of a kernel that is computed tile by tile."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.calls import Call
from ntkplan.emit.expression import INDENT, atom, call, indented, statement
from ntkplan.emit.halves import mirrored_axes
from ntkplan.emit.kernel_function import (
    block_function,
    result_lines,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.output_basis import basis_lines
from ntkplan.emit.precision import jit_lines
from ntkplan.emit.remarks import comment_lines
from ntkplan.errors import InternalError
from ntkplan.ir.program import Program, Tiling
from ntkplan.ir.quantities import counted
from ntkplan.methods.network import DIAGONAL, EXAMPLES, FULL


def tiled_lines(program: Program, calls: Sequence[Call]) -> list[str]:
    """Prints the kernel of one tile, and `kernel(params, x1, x2=None)` over all."""
    lines = []
    if program.blocks:
        lines = [*block_function(program, calls, in_loop=True), "", ""]
    return [*lines, *_Kernel(program).lines()]


class _Kernel:
    """Prints the kernel function, its loops one inside of the other."""

    def __init__(self, program: Program) -> None:
        if program.tiling is None:
            raise InternalError("a kernel without tiles", program)
        self._program = program
        self._tiling: Tiling = program.tiling
        self._matched = program.spec.matched
        self._factors = ", factors" if program.factors else ""
        tiles_outputs = program.tiles_outputs and bool(program.blocks)
        self._basis = ", basis" if tiles_outputs else ""

    def lines(self) -> list[str]:
        """Returns the lines of the function."""
        described = (
            f"Returns the kernel, {self._program.spec.describe()}, {self._words()}."
        )
        body = [f'"""{described}"""', *self._examples()]
        if self._basis:
            made, basis = basis_lines(self._program)
            body += made
            if basis.text != "basis":
                body += statement("basis = ", basis, WIDTH)
        if self._program.blocks:
            body += ["", *self._sides()]
        body += self._matched_pairs() if self._matched else self._all_pairs()
        body += ["", *result_lines(self._program)]
        return [
            *jit_lines(self._program.precision),
            "def kernel(params, x1, x2=None):",
            *indented(body),
        ]

    def _words(self) -> str:
        tiling = self._tiling
        if self._matched:
            return f"{counted(tiling.rows, 'pair')} at a time"
        text = f"in tiles of {tiling.rows} x {tiling.columns} examples"
        if tiling.outputs is not None:
            text += f" and {counted(tiling.outputs, 'output')}"
        return text

    def _examples(self) -> list[str]:
        """Brings the example axis of every array to the front."""
        program = self._program
        if program.spec.whole_batch:
            change = "array[None]"
        elif program.batch_axis:
            change = f"jnp.moveaxis(array, {program.batch_axis}, 0)"
        else:
            return []
        return [
            f"x1 = jax.tree.map(lambda array: {change}, x1)",
            "if x2 is not None:",
            f"{INDENT}x2 = jax.tree.map(lambda array: {change}, x2)",
        ]

    def _sides(self) -> list[str]:
        axes = "(None, 0, None)" if self._basis else "(None, 0)"
        if self._factors:
            return [
                f"def sides(x{self._basis}):",
                f"{INDENT}mapped = jax.vmap(derivatives, {axes}, (0, 0, None))",
                f"{INDENT}*side, factors = mapped(params, x{self._basis})",
                f"{INDENT}return side, factors",
            ]
        return [
            f"def sides(x{self._basis}):",
            f"{INDENT}return jax.vmap(derivatives, {axes})(params, x{self._basis})",
        ]

    def _axis(self, label: str) -> int:
        return self._program.kernel_labels.index(label)

    def _basis_axes(self) -> tuple[int | None, int | None]:
        """Returns where the outputs of the first and of the second side lie."""
        labels = self._program.kernel_labels
        if FULL[0] in labels:
            return self._axis(FULL[0]), self._axis(FULL[1])
        return (self._axis(DIAGONAL) if DIAGONAL in labels else None), None

    def _all_pairs(self) -> list[str]:
        tiling = self._tiling
        if not self._program.blocks:
            pushed = ["return pushed(params, x1, x2)"]
            lines = ["x2 = x1 if x2 is None else x2", "", "def row(x1):"]
            lines += indented([*self._pushed_comments(), *pushed])
            return [*lines, "", f"theta = {self._over('row', 'x1', tiling.rows, 0)}"]
        if tiling.keeps:
            return self._kept()
        row = indented(self._outputs1() if self._basis else self._row())
        theta = f"theta = {self._over('row', 'x1', tiling.rows, 0)}"
        if not self._program.mirrors_tiles:
            lines = ["", "x2 = x1 if x2 is None else x2", "", "def row(x1):"]
            return [*lines, *row, "", theta]
        return [
            "",
            "symmetric = x2 is None",
            "x2 = x1 if symmetric else x2",
            "",
            "def row(x1, upto=None):",
            *row,
            "",
            "if symmetric:",
            *indented(self._lower("x1")),
            "else:",
            f"{INDENT}{theta}",
        ]

    def _over(self, function: str, arrays: str, size: int, side: int) -> str:
        axis = self._axis(EXAMPLES[side])
        upto = ", upto" * (side == 1 and self._program.mirrors_tiles)
        return f"over_tiles({function}, {arrays}, {size}, {axis}{upto})"

    def _lower(self, arrays: str) -> list[str]:
        """Prints the rows of tiles as far as the diagonal, and what they mirror."""
        labels = self._program.kernel_labels
        axes = tuple(labels.index(label) for label in EXAMPLES)
        order = ", ".join(map(str, mirrored_axes(labels)))
        given = ("row", arrays, str(self._tiling.rows), str(axes), f"({order})")
        value = call("over_lower_tiles", *map(atom, given))
        return statement("theta = ", value, WIDTH - len(INDENT))

    def _row(self) -> list[str]:
        """Prints one row of tiles, the second side computed for each of them."""
        second = "sides(x2)[0]" if self._factors else "sides(x2)"
        return [
            f"side1{self._factors} = sides(x1)",
            "",
            "def tile(x2):",
            f"{INDENT}return kernel_block(side1, {second}{self._factors})",
            "",
            *self._row_result("tile", "x2"),
        ]

    def _row_result(self, function: str, arrays: str) -> list[str]:
        value = self._over(function, arrays, self._tiling.columns, 1)
        if not self._program.shifts:
            return [f"return {value}"]
        return [
            f"theta = {value}",
            "",
            *self._pushed_comments(),
            "return theta + pushed(params, x1, x2)",
        ]

    def _pushed_comments(self) -> Sequence[str]:
        return comment_lines(self._program.pushed_comments, WIDTH - len(INDENT))

    def _kept(self) -> list[str]:
        """Prints tiles of arrays that are computed once for all examples of `x2`."""
        pushes = bool(self._program.shifts)
        row = [
            "def tile(side2):",
            f"{INDENT}return kernel_block(side1, side2{self._factors})",
            "",
            *self._row_result("tile", "side2"),
        ]
        given = "x1, side1" if pushes else "side1"
        unpacked = ["x1, side1 = own", ""] if pushes else []
        own = "own" if pushes else "side1"
        own += ", upto=None" * self._program.mirrors_tiles
        first = "sides(x1)[0]" if self._factors else "sides(x1)"
        side = f"({given.replace('side1', first)})" if pushes else first
        kept = "(x1, side2)" if pushes else "side2"
        rows = self._tiling.rows
        lines = ["", f"side2{self._factors} = sides(x1 if x2 is None else x2)"]
        if pushes:
            lines += ["symmetric = x2 is None", "x2 = x1 if symmetric else x2"]
        condition = "symmetric" if pushes else "x2 is None"
        same = [f"theta = {self._over('row', kept, rows, 0)}"]
        if self._program.mirrors_tiles:
            same = self._lower(kept)
        return [
            *lines,
            "",
            f"def row({own}):",
            *indented([*unpacked, *row]),
            "",
            f"if {condition}:",
            *indented(same),
            "else:",
            f"{INDENT}theta = {self._over(f'lambda x1: row({side})', 'x1', rows, 0)}",
        ]

    def _outputs1(self) -> list[str]:
        """Prints one row of tiles, a part of the output basis at a time."""
        first_axis, second_axis = self._basis_axes()
        size = self._tiling.outputs
        second = "sides(x2, basis2)" if second_axis is not None else "sides(x2, basis1)"
        second += "[0]" * bool(self._factors)
        block = f"return kernel_block(side1, {second}{self._factors})"
        if second_axis is not None:
            tile = [
                "def outputs2(basis2):",
                f"{INDENT}{block}",
                "",
                f"return over_tiles(outputs2, basis, {size}, {second_axis})",
            ]
        else:
            tile = [block]
        inner = [
            f"side1{self._factors} = sides(x1, basis1)",
            "",
            "def tile(x2):",
            *indented(tile),
            "",
            f"return {self._over('tile', 'x2', self._tiling.columns, 1)}",
        ]
        value = f"over_tiles(outputs1, basis, {size}, {first_axis})"
        lines = ["def outputs1(basis1):", *indented(inner), ""]
        if not self._program.shifts:
            return [*lines, f"return {value}"]
        return [
            *lines,
            f"theta = {value}",
            "",
            *self._pushed_comments(),
            "return theta + pushed(params, x1, x2)",
        ]

    def _matched_pairs(self) -> list[str]:
        """Prints tiles of examples of `x1` with their partners."""
        tiling = self._tiling
        lines = ["", "x2 = x1 if x2 is None else x2", "", "def row(pair):"]
        row = ["x1, x2 = pair"]
        if self._basis:
            row += self._matched_outputs()
        elif self._program.blocks:
            second = "sides(x2)[0]" if self._factors else "sides(x2)"
            row += [
                f"side1{self._factors} = sides(x1)",
                f"theta = kernel_block(side1, {second}{self._factors})",
            ]
        if self._program.shifts:
            first = "theta += " if self._program.blocks else "theta = "
            row += ["", *self._pushed_comments(), f"{first}pushed(params, x1, x2)"]
        row += ["return theta"]
        return [
            *lines,
            *indented(row),
            "",
            f"theta = {self._over('row', '(x1, x2)', tiling.rows, 0)}",
        ]

    def _matched_outputs(self) -> list[str]:
        """Prints the kernel of pairs, a part of the output basis at a time."""
        axis, second_axis = self._basis_axes()
        size = self._tiling.outputs
        second = "sides(x2, basis1)" if second_axis is None else "sides(x2, basis2)"
        block = f"return kernel_block(side1, {second}{'[0]' * bool(self._factors)}"
        inner = [f"side1{self._factors} = sides(x1, basis1)"]
        if second_axis is None:
            inner += [f"{block}{self._factors})"]
        else:
            inner += ["", "def outputs2(basis2):", f"{INDENT}{block}{self._factors})"]
            inner += ["", f"return over_tiles(outputs2, basis, {size}, {second_axis})"]
        return [
            "",
            "def outputs1(basis1):",
            *indented(inner),
            "",
            f"theta = over_tiles(outputs1, basis, {size}, {axis})",
        ]
