"""From the modules of several outputs to one that returns the tree of their kernels."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy

from ntkplan.emit.expression import INDENT, atom, indented, statement
from ntkplan.emit.layout import LINE_WIDTH, WIDTH
from ntkplan.emit.names import free, identifier, key_text
from ntkplan.emit.renaming import identifiers, renamed
from ntkplan.emit.source import Module
from ntkplan.emit.wrapping import wrapped
from ntkplan.emit.zero_taps import ZERO_FUNCTIONS

# What every module defines, each in its own way.
_OWN_NAMES = frozenset({"forward", "derivatives", "pushed", "kernel", *ZERO_FUNCTIONS})
_NOTHING: Mapping[str, str] = MappingProxyType({})
_CONSTANTS = "CONSTANTS"
RESTORE = "restore_tree"


def join_modules(
    modules: Mapping[str, Module],
    structure: Any,
    *,
    title: str,
    notes: Sequence[str],
) -> Module:
    """Joins the modules of a tree's outputs into one, whose `kernel` returns the tree.

    Functions of an output have its name behind theirs, `forward_logits`. Helpers and
    constants that outputs have in common are written once.

    Args:
        modules: By the output's path, in the order of `jax.tree`.
        structure: The tree of the outputs, a `PyTreeDef`.
        title: First line of the module's docstring.
        notes: Its further lines.
    """
    joiner = _Joiner(modules, _suffixes(list(modules)))
    sections = _sections(joiner, modules)
    values = [joiner.values[path] for path in modules]
    returned = _tree_text(structure.unflatten(values), "return ", len(INDENT))
    if returned is None:
        joiner.references[RESTORE] = structure.unflatten
        joiner.reasons[RESTORE] = (
            "it puts the kernels into the tree that f returns, whose types are not "
            "dict, list, tuple and None alone"
        )
        returned = f"return {RESTORE}([{', '.join(values)}])"
    lines = [
        "def kernel(params, x1, x2=None):",
        f'{INDENT}"""Returns the kernels of all outputs, in their tree."""',
        *(
            line
            for path in modules
            for line in indented(
                statement(
                    f"{joiner.values[path]} = ",
                    atom(f"{joiner.kernels[path]}(params, x1, x2)"),
                    WIDTH,
                )
            )
        ),
        f"{INDENT}{returned}",
    ]
    return _whole(joiner, sections, lines, title, notes)


def combine_modules(
    modules: Mapping[str, Module],
    kernel: Callable[[Sequence[str]], Sequence[str]],
    *,
    title: str,
    notes: Sequence[str],
) -> Module:
    """Joins modules into one, whose kernel function is given as text.

    Args:
        modules: By a name for each, which stands behind the names of its functions.
        kernel: Makes the lines of the function `kernel` from the names that the
            modules' own kernel functions have now, in their order.
        title: First line of the module's docstring.
        notes: Its further lines.
    """
    joiner = _Joiner(modules, _suffixes(list(modules)))
    sections = _sections(joiner, modules)
    lines = kernel([joiner.kernels[name] for name in modules])
    return _whole(joiner, sections, lines, title, notes)


def _sections(joiner: _Joiner, modules: Mapping[str, Module]) -> list[str]:
    return ["\n\n" + joiner.add(path, module) for path, module in modules.items()]


def _whole(
    joiner: _Joiner,
    sections: Sequence[str],
    kernel: Sequence[str],
    title: str,
    notes: Sequence[str],
) -> Module:
    """Puts the parts of a joined module together."""
    header = ['"""' + title, ""]
    for note in notes:
        header += wrapped(note, LINE_WIDTH)
    return joiner.module([joiner.head([*header, '"""']), *sections, "\n", *kernel])


def with_hidden(module: Module, hidden: Module) -> Module:
    """Puts the module of a kernel before that of another, which calls it.

    Functions of the first have `hidden` behind their names, those of the second keep
    theirs. Helpers and constants that both have are written once.

    Args:
        module: Calls the kernel of the other `HIDDEN_KERNEL`.
        hidden: The other.
    """
    joiner = _Joiner({_HIDDEN: hidden, "": module}, {_HIDDEN: _HIDDEN, "": ""})
    sections = ["\n\n" + joiner.add(_HIDDEN, hidden, what="")]
    called = {HIDDEN_KERNEL: joiner.kernels[_HIDDEN]}
    sections.append("\n\n" + joiner.add("", module, what="", names=called))
    docstring = ast.parse(module.text).body[0].end_lineno
    text = joiner.head(module.text.splitlines()[:docstring])
    return joiner.module([text, *sections])


HIDDEN_KERNEL = "hidden_kernel"
"""How a module calls the kernel of the values at a cut, until it is joined to it."""

_HIDDEN = "hidden"


class _Joiner:
    """Renames what modules define, so that they can stand in one."""

    def __init__(
        self, modules: Mapping[str, Module], suffixes: Mapping[str, str]
    ) -> None:
        trees = [ast.parse(module.text) for module in modules.values()]
        self.taken = {name for tree in trees for name in identifiers(tree)}
        self.suffixes = suffixes
        self.kernels: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.constants: dict[str, Any] = {}
        self.references: dict[str, Callable[..., Any]] = {}
        self.reasons: dict[str, str] = {}
        self._imports: list[str] = []
        self._shared: dict[tuple[str, str], str] = {}

    def add(
        self,
        path: str,
        module: Module,
        *,
        what: str = "output ",
        names: Mapping[str, str] = _NOTHING,
    ) -> str:
        """Returns the definitions of one module, renamed.

        Args:
            path: Which of the modules it is.
            module: The module.
            what: What stands before the path where something in it has no source.
            names: Names in it that are to be others.
        """
        tree = ast.parse(module.text)
        lines = module.text.splitlines()
        suffix = self.suffixes[path]
        names = {**names, **self._add_constants(module, suffix)}
        for name, function in module.references.items():
            names[name] = self._new_name(name, suffix)
            self.references[names[name]] = function
            where = f"{what}{path}: " if path else ""
            self.reasons[names[name]] = where + module.reasons[name]
        section: list[str] = []
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._imports.append(ast.unparse(node))
            elif isinstance(node, ast.FunctionDef):
                definition = self._definition(node, lines, names, suffix)
                if definition is not None:
                    section.append(definition)
            elif not _is_docstring(node) and not _loads_constant(node, module):
                section.append(renamed(node, lines, names))
        self.kernels[path] = names["kernel"]
        self.values[path] = free(f"theta_{suffix}", self.taken)
        self.taken.add(self.values[path])
        title = wrapped(_first_line(tree), LINE_WIDTH - 2)
        return "\n".join([*(f"# {line}" for line in title), "\n\n\n".join(section)])

    def head(self, docstring: Sequence[str]) -> str:
        """Returns what stands before all definitions."""
        text = "\n".join([*docstring, "", *self.import_lines()])
        constants = self.constant_lines()
        return "\n\n".join([text, "\n".join(constants)] if constants else [text])

    def module(self, sections: Sequence[str]) -> Module:
        """Returns the module of all that was added."""
        return Module(
            text="\n".join(sections) + "\n",
            constants=self.constants,
            references=self.references,
            reasons=self.reasons,
        )

    def import_lines(self) -> list[str]:
        """Returns the imports of all modules, the standard library's first."""
        # Plain imports before those of single names, as every module has them.
        lines = sorted(set(self._imports), key=lambda line: (line[0] != "i", line))
        standard = [line for line in lines if line in _STANDARD]
        others = [line for line in lines if line not in _STANDARD]
        return [*standard, *([""] if standard else []), *others]

    def constant_lines(self) -> list[str]:
        """Returns the lines that read the constants from the file beside the module."""
        if not self.constants:
            return []
        load = f'{_CONSTANTS} = numpy.load(pathlib.Path(__file__).with_suffix(".npz"))'
        return [
            load,
            *(
                f'{name} = jnp.asarray({_CONSTANTS}["{name}"])'
                for name in sorted(self.constants)
            ),
        ]

    def _add_constants(self, module: Module, suffix: str) -> dict[str, str]:
        """Names a module's constants; the same array has one name in all of them."""
        names: dict[str, str] = {}
        for name, array in module.constants.items():
            known = [
                other for other, held in self.constants.items() if _same(held, array)
            ]
            names[name] = known[0] if known else self._new_name(name, suffix)
            self.constants[names[name]] = array
        return names

    def _definition(
        self,
        node: ast.FunctionDef,
        lines: Sequence[str],
        names: dict[str, str],
        suffix: str,
    ) -> str | None:
        """Returns a function renamed, or None where it is there already."""
        key = (node.name, renamed(node, lines, names))
        if node.name not in _OWN_NAMES and key in self._shared:
            names[node.name] = self._shared[key]
            return None
        names[node.name] = self._new_name(node.name, suffix)
        self._shared[key] = names[node.name]
        return renamed(node, lines, names)

    def _new_name(self, name: str, suffix: str) -> str:
        """Returns a name that no module uses, for what one of them calls `name`."""
        used = {*self._shared.values(), *self.constants, *self.references}
        if (not suffix or name not in _OWN_NAMES) and name not in used:
            return name
        wanted = f"{name}_{suffix}" if suffix else name
        found = free(wanted, {*self.taken, *used})
        self.taken.add(found)
        return found


_STANDARD = frozenset({"import itertools", "import math", "import pathlib"})


def _suffixes(paths: Sequence[str]) -> dict[str, str]:
    """Returns what stands behind the names of each output, all different."""
    found: dict[str, str] = {}
    for path in paths:
        name = path if path[:1].isalpha() else f"output_{path}"
        found[path] = free(identifier(name), found.values())
    return found


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _first_line(tree: ast.Module) -> str:
    text = ast.get_docstring(tree) or ""
    return text.partition("\n")[0]


def _loads_constant(node: ast.stmt, module: Module) -> bool:
    """Says whether a statement reads a constant, or opens the file with all of them."""
    if not isinstance(node, ast.Assign) or not module.constants:
        return False
    (target,) = node.targets
    return isinstance(target, ast.Name) and target.id in {
        _CONSTANTS,
        *module.constants,
    }


def _same(one: Any, other: Any) -> bool:
    one, other = numpy.asarray(one), numpy.asarray(other)
    return one.dtype == other.dtype and numpy.array_equal(one, other)


def _tree_text(tree: Any, before: str, indent: int) -> str | None:
    """Writes a tree of names as Python, or returns None where it cannot.

    Args:
        tree: Names in dictionaries, lists and tuples.
        before: What stands before it on its line.
        indent: How far that line is indented.

    Example:
        >>> _tree_text({"logits": "a", "hidden": ("b",), "last": None}, "return ", 0)
        'return {"logits": a, "hidden": (b,), "last": None}'
    """
    if tree is None or type(tree) is str:
        return before + str(tree)
    entries: list[tuple[str, Any]]
    if type(tree) is dict and all(type(key) in (str, int) for key in tree):
        entries = [(f"{key_text(key)}: ", value) for key, value in tree.items()]
    elif type(tree) in (list, tuple):
        entries = [("", value) for value in tree]
    else:
        return None
    texts = [_tree_text(value, key, indent + 4) for key, value in entries]
    parts = [text for text in texts if text is not None]
    if len(parts) < len(texts):
        return None
    opening, closing = {dict: "{}", list: "[]", tuple: "()"}[type(tree)]
    comma = "," if type(tree) is tuple and len(parts) == 1 else ""
    one_line = f"{before}{opening}{', '.join(parts)}{comma}{closing}"
    if indent + len(one_line) < LINE_WIDTH and "\n" not in one_line:
        return one_line
    margin = " " * indent
    lines = [f"{margin}{INDENT}{part}," for part in parts]
    return "\n".join([f"{before}{opening}", *lines, f"{margin}{closing}"])
