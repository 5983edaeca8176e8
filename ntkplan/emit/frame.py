"""What stands around a kernel's functions, so that they are a module to keep.

The docstring, the check of what the kernel is called with, and the self-check are put
around a module that is otherwise finished.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ntkplan.emit import nested_params, self_check, shape_checks
from ntkplan.emit.constants import constant_section, is_definition
from ntkplan.emit.expression import atom, call, followed
from ntkplan.emit.legend import with_legend
from ntkplan.emit.module_docstring import docstring_lines
from ntkplan.emit.precision import SIXTEEN_BITS
from ntkplan.emit.self_check import CheckedOutput
from ntkplan.emit.shape_checks import shapes_of
from ntkplan.emit.shape_table import summed_mark
from ntkplan.emit.source import Module
from ntkplan.emit.zero_taps import ZERO_FUNCTIONS
from ntkplan.errors import InternalError
from ntkplan.ir.kernel import KernelSpec

_KERNEL = "kernel"
_FORWARD = "forward"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What a module says of itself.

    Attributes:
        params: Tree of `jax.ShapeDtypeStruct`s.
        x: Likewise, with the number of examples in `x1`.
        batch_axis: The example axis of every array of `x`, or None.
        call: How the plan was made, as Python.
        specs: The kernel of every output, in the order of `jax.tree`.
        fixed: Paths of leaves that are not differentiated.
        summed: For every output, paths of leaves for which sum of logits stands in.
    """

    params: Any
    x: Any
    batch_axis: int | None
    call: str
    specs: tuple[KernelSpec, ...]
    fixed: frozenset[str]
    summed: tuple[frozenset[str], ...]


def framed(module: Module, frame: Frame) -> Module:
    """Returns a module with its docstring, its checks and its self-check.

    Args:
        module: A module as printed: a docstring, imports, functions, `kernel`.
        frame: What it says of itself.
    """
    parsed = _Parsed(module)
    shapes = shapes_of(
        frame.params,
        frame.x,
        batch_axis=frame.batch_axis,
        matched=any(spec.matched for spec in frame.specs),
        fixed=frame.fixed,
        summed=frame.summed,
    )
    kernels = parsed.output_kernels()
    outputs = [
        parsed.checked_output(kernel, spec, number)
        for number, (kernel, spec) in enumerate(zip(kernels, frame.specs, strict=True))
    ]
    title, notes = parsed.docstring()
    constants, beside = constant_section(module.constants)
    helper = nested_params.helper(frame.params)
    sections = [
        "\n".join(
            docstring_lines(
                title,
                notes,
                params=frame.params,
                x=frame.x,
                batch_axis=frame.batch_axis,
                call=frame.call,
            )
        ),
        "",
        parsed.imports(standard=["hashlib"] * bool(beside)),
        *([constants] if constants else []),
        shape_checks.table_section(shapes),
        *(["\n" + helper.rstrip()] if shapes.params.nested else []),
        with_legend(parsed.rest(kernels, nests=shapes.params.nested)),
        *shape_checks.check_sections(shapes),
        *self_check.check_sections(
            shapes,
            outputs,
            parsed.precision(kernels),
            rough=any(dtype in module.text for dtype in SIXTEEN_BITS),
        ),
    ]
    text = "\n".join(sections) + "\n"
    return dataclasses.replace(module, text=text, constants=beside)


def kernels_of(module: Module) -> list[str]:
    """Returns the names of the functions that compute the kernels of all outputs."""
    return _Parsed(module).output_kernels()


class _Parsed:
    """The text of a module, and where what is in it."""

    def __init__(self, module: Module) -> None:
        lines = [
            line
            for line in module.text.splitlines()
            if not is_definition(line, module.constants)
        ]
        self._tree = ast.parse("\n".join(lines))
        self._lines = lines
        self._functions: Mapping[str, ast.FunctionDef] = {
            node.name: node
            for node in self._tree.body
            if isinstance(node, ast.FunctionDef)
        }

    def docstring(self) -> tuple[str, list[str]]:
        """Returns the first paragraph, joined, and the lines of the rest."""
        first, _, rest = (ast.get_docstring(self._tree) or "").partition("\n\n")
        return " ".join(first.splitlines()), rest.splitlines()

    def imports(self, *, standard: Sequence[str]) -> str:
        """Returns the imports, numpy and more of the standard library among them."""
        nodes = [
            n for n in self._tree.body if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        lines = self._lines[nodes[0].lineno - 1 : nodes[-1].end_lineno]
        if "import numpy" not in lines:
            lines.insert(lines.index("import jax.numpy as jnp") + 1, "import numpy")
        found = {line for line in lines[: lines.index("import jax")] if line}
        found -= {"import pathlib"} if not standard else set()
        found |= {f"import {name}" for name in standard}
        others = lines[lines.index("import jax") :]
        return "\n".join([*sorted(found), *[""] * bool(found), *others])

    def rest(self, kernels: Sequence[str], *, nests: bool) -> str:
        """Returns what follows the imports; kernels check their arguments first.

        Args:
            kernels: Names of the kernel functions.
            nests: Whether they then put their parameters into dictionaries.
        """
        first = [shape_checks.CHECK, *[nested_params.NEST] * nests]
        last = max(
            node.end_lineno or 0
            for node in self._tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
        )
        lines = list(self._lines)
        places = [self._functions[name].body[0].end_lineno or 0 for name in kernels]
        for place in sorted(places, reverse=True):
            lines[place:place] = [f"    {line}" for line in first]
        return "\n\n" + "\n".join(lines[last:]).strip("\n")

    def output_kernels(self) -> list[str]:
        """Returns the jitted kernel function of every output, in their order.

        They are what `kernel` calls where it is not jitted itself.
        """
        kernel = self._functions[_KERNEL]
        if kernel.decorator_list:
            return [_KERNEL]
        return [name for name in self._called(kernel) if name.startswith(_KERNEL)]

    def precision(self, kernels: Sequence[str]) -> str:
        """Returns the precision that kernels ask for, the same for all of them.

        A kernel of two parts leaves it to the kernels that it adds up.
        """
        functions = [self._functions[name] for name in kernels]
        parts = [name for each in functions for name in self._called(each)]
        functions += [self._functions[name] for name in parts]
        asked = [
            decorator.args[0].value
            for function in functions
            for decorator in function.decorator_list
            if isinstance(decorator, ast.Call)
            and isinstance(decorator.args[0], ast.Constant)
        ]
        if not asked:
            raise InternalError("kernels that ask for no precision", kernels)
        return str(asked[0])

    def checked_output(
        self, kernel: str, spec: KernelSpec, number: int
    ) -> CheckedOutput:
        """Returns what the self-check is told of one output."""
        reached = self._reached(kernel)
        forward = next((n for n in reached if n.startswith(_FORWARD)), None)
        if forward is None:
            raise InternalError(f"no forward pass is called by {kernel}", reached)
        node = self._functions[forward]
        zeros = {
            argument: " | ".join(
                f"{name}()"
                for kind in kinds
                for name in reached
                if name.startswith(kind) and self._is_of(name, forward)
            )
            for argument, kinds in _ARGUMENTS.items()
        }
        given = [zeros.get(item.arg, item.arg) for item in node.args.args]
        value = call(forward, *map(atom, given))
        returned = node.body[-1]
        if isinstance(returned, ast.Return) and isinstance(returned.value, ast.Tuple):
            value = followed(value, "[0]")
        return CheckedOutput(
            suffix=kernel.removeprefix(_KERNEL),
            kernel=kernel,
            forward=value,
            spec=spec,
            mark=summed_mark(number),
        )

    def _is_of(self, zeros: str, forward: str) -> bool:
        """Says whether some function calls a forward pass with such zeros."""
        return any(
            {zeros, forward} <= set(self._called(node))
            for node in self._functions.values()
        )

    def _reached(self, name: str) -> list[str]:
        """Returns the functions that one reaches, those behind other kernels last."""
        found: list[str] = []
        pending, later = [name], []
        while pending or later:
            current = pending.pop(0) if pending else later.pop(0)
            if current in found:
                continue
            found.append(current)
            for called in self._called(self._functions[current]):
                (later if called.startswith(_KERNEL) else pending).append(called)
        return found

    def _called(self, node: ast.FunctionDef) -> list[str]:
        """Returns the module's functions that one names, in the order of its text."""
        names = [
            (item.lineno, item.col_offset, item.id)
            for item in ast.walk(node)
            if isinstance(item, ast.Name) and item.id in self._functions
        ]
        return list(dict.fromkeys(name for _, _, name in sorted(names)))


_ARGUMENTS = {"taps": ZERO_FUNCTIONS[:2], "shifts": ZERO_FUNCTIONS[2:]}
