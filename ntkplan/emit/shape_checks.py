"""The emitted check of what a kernel is called with: table and function."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ntkplan.emit.expression import atom, call, indented, statement
from ntkplan.emit.layout import INDENT, LINE_WIDTH
from ntkplan.emit.shape_table import ATTRIBUTES, FIXED, Table, shape_table
from ntkplan.emit.table_text import table_lines
from ntkplan.emit.taps import dictionary

CHECK = "check_shapes(params, x1, x2)"
"""The line that a kernel function begins with."""


_ATTRIBUTES = f'''
class {ATTRIBUTES}:
    """Stands for types that hold parameters as attributes."""

    def __init__(self, /, **fields):
        self.__dict__.update(fields)


jax.tree_util.register_pytree_with_keys(
    {ATTRIBUTES},
    lambda node: (
        [(jax.tree_util.GetAttrKey(key), value) for key, value in vars(node).items()],
        tuple(vars(node)),
    ),
    lambda keys, values: {ATTRIBUTES}(**dict(zip(keys, values))),
)
'''

_SHAPES = '''
def shapes(tree, batch_axis=None):
    """Data types and shapes by their place, the number of examples as n."""
    found = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, str):
            sizes = [str(size) for size in leaf.shape]
            if batch_axis in range(-len(sizes), len(sizes)):
                sizes[batch_axis] = "n" if leaf.shape[batch_axis] else "n=0"
            leaf = f"{leaf.dtype}[{','.join(sizes)}]"
        found[jax.tree_util.keystr(keys)] = leaf.split()[0]
    return found
'''

_FOUND_WITH_N = (
    '                least = "n is at least 1. " if "n=0" in found else ""',
    "                found = shapes(tree).get(place, found)",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shapes:
    """What an emitted kernel takes.

    Attributes:
        params: The parameters.
        x: The examples.
        batch_axis: The axis that counts examples, or None.
        matched: Whether `x1` and `x2` hold as many examples.
    """

    params: Table
    x: Table
    batch_axis: int | None
    matched: bool

    @property
    def texts(self) -> list[str]:
        """The text of every array."""
        return [*self.params.texts, *self.x.texts]

    @property
    def marks(self) -> set[str]:
        """What is said of leaves of `params` besides their shapes."""
        return {mark for text in self.params.texts for mark in text.split()[1:]}


def shapes_of(
    params: Any,
    x: Any,
    *,
    batch_axis: int | None,
    matched: bool,
    fixed: frozenset[str],
    summed: Sequence[frozenset[str]],
) -> Shapes:
    """Describes what a kernel takes.

    Args:
        params: Tree of arrays or `jax.ShapeDtypeStruct`s.
        x: Likewise.
        batch_axis: The axis that counts examples, or None.
        matched: Whether `x1` and `x2` hold as many examples.
        fixed: Paths of leaves that are not differentiated.
        summed: For every output, paths of leaves for which sum of logits stands in.
    """
    return Shapes(
        params=shape_table(params, fixed=fixed, summed=summed, nests=True),
        x=shape_table(x, batch_axis=batch_axis),
        batch_axis=batch_axis,
        matched=matched,
    )


def table_section(shapes: Shapes) -> str:
    """Prints the tables of what was planned for."""
    meanings = {
        FIXED: f"# Leaves marked {FIXED} are not differentiated.",
        **{
            mark: f"# Sum of logits stands in for leaves marked {mark}."
            for mark in sorted(shapes.marks - {FIXED})
        },
    }
    heading = [text for mark, text in meanings.items() if mark in shapes.marks]
    tables = table_lines(shapes.params, "PARAMS", n_apart=2)
    tables += table_lines(shapes.x, "X", n_apart=None)
    has_functions = tables[0].startswith("def ")
    behind = max((n + 1 for n, line in enumerate(tables) if not line), default=0)
    tables[behind:behind] = heading
    has_attributes = shapes.params.has_attributes or shapes.x.has_attributes
    before = ["", _ATTRIBUTES.rstrip(), ""] if has_attributes else []
    return "\n".join([*before, *[""] * (has_functions and not before), "", *tables])


def check_sections(shapes: Shapes) -> list[str]:
    """Prints the function that compares arguments with the tables."""
    return ["\n" + _SHAPES.rstrip(), "\n\n" + "\n".join(_check_lines(shapes))]


def _check_lines(shapes: Shapes) -> list[str]:
    params = _given("params", shapes.params)
    x1, x2 = (_given(name, shapes.x) for name in ("x1", "x2"))
    other = atom(f"{x1} if x2 is None else {x2}")
    has_n = shapes.batch_axis is not None
    free = "; n is free, from 1 on" if has_n else ""
    lines = [
        "def check_shapes(params, x1, x2=None):",
        f'    """Raises ValueError where something else was planned for{free}."""',
        *statement(
            "    given = ",
            dictionary([("params", atom(params)), ("x1", atom(x1)), ("x2", other)]),
            LINE_WIDTH,
        ),
        "    for name, tree in given.items():",
        *_table_lines(shapes.batch_axis),
        "        for place in planned | got:",
        "            found = got.get(place, "
        '"missing" if place else f"a {type(tree).__name__}")',
        '            if found != (wanted := planned.get(place, "nothing")):',
        *(_FOUND_WITH_N if has_n else []),
        "                raise ValueError(",
        '                    f"{name}{place} is {found}, planned: {wanted}. '
        f'{"{least}" * has_n}"',
        '                    "The call that plans again is in the docstring."',
        "                )",
    ]
    return [*lines, *_count_lines(shapes)]


def _table_lines(batch_axis: int | None) -> list[str]:
    """Prints what an argument is compared with."""
    if batch_axis is None:
        return [
            '        table = PARAMS if name == "params" else X',
            "        got, planned = shapes(tree), shapes(table)",
        ]
    chosen = f'(PARAMS, None) if name == "params" else (X, {batch_axis})'
    return [
        f"        table, axis = {chosen}",
        "        got, planned = shapes(tree, axis), shapes(table)",
    ]


def _given(name: str, table: Table) -> str:
    if table.nested:
        return f"nested({name})"
    return f"jax.tree.leaves({name})" if table.flat else name


def _count_lines(shapes: Shapes) -> list[str]:
    """Prints the check that numbers of examples agree where they have to."""
    if shapes.batch_axis is None:
        return []
    if shapes.matched:
        groups, where = "[(x1, x2)]", "x1 and x2"
    elif len(shapes.x.texts) > 1:
        groups, where = "(x1, x2)", "arrays of one side"
    else:
        return []
    said = f"{where} hold different numbers of examples"
    return [
        f"    for arrays in {groups}:",
        "        leaves = jax.tree.leaves(arrays)",
        f"        counts = dict.fromkeys(leaf.shape[{shapes.batch_axis}] "
        "for leaf in leaves)",
        "        if len(counts) > 1:",
        '            held = " and ".join(map(str, counts))',
        *indented(indented(indented(_raised(f"{said}: {{held}}")))),
    ]


def _raised(message: str) -> list[str]:
    error = call("ValueError", atom(f'f"{message}"'))
    return statement("raise ", error, LINE_WIDTH - 3 * len(INDENT))
