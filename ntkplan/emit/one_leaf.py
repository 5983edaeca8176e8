"""One leaf's block as a module of its own, to be timed apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import INDENT
from ntkplan.emit.helpers import helper_sections
from ntkplan.emit.statements import BlockPrinter
from ntkplan.ir.program import Block
from ntkplan.methods.candidate import Candidate

FUNCTION = "block"
"""What the function of the module is called."""


def leaf_text(
    candidate: Candidate,
    given: Sequence[str],
    kernel_labels: Sequence[str],
    *,
    symmetric: bool,
    precision: str | None,
    dtype: str,
    sums_dtype: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Prints the function that computes one candidate from the arrays it is given.

    Arguments are named by their place in `given`, so that leaves of one form have the
    same text.

    Args:
        candidate: A candidate with statements.
        given: Names of all arrays that candidates of the leaf may be given.
        kernel_labels: Labels of the kernel while it is summed up.
        symmetric: Whether the arrays of the first side stand for those of the second.
        precision: Name of the precision of every product, or None.
        dtype: The data type of the kernel.
        sums_dtype: The data type that sums are made in, if not the operands'.

    Returns:
        The module's text, and which of `given` its function takes, in order.
    """
    made = {item.target.name for item in candidate.statements}
    read = {
        array.name
        for item in candidate.statements
        for array in item.sources
        if array.name not in made
    }
    taken = list(dict.fromkeys(_source(n, symmetric) for n in given if n in read))
    arguments = {name: f"array{given.index(name)}" for name in taken}
    block = Block(
        group="",
        comments=(),
        statements=candidate.statements,
        results=candidate.results,
        loop=candidate.loop,
    )
    printer = BlockPrinter(
        block,
        kernel_labels,
        {name: arguments[_source(name, symmetric)] for name in read},
        precision,
        dtype,
        sums_dtype,
    )
    once = candidate.loop == 1
    lines = [f"def {FUNCTION}({', '.join(arguments.values())}):"]
    margin = INDENT
    if not once:
        lines += [f"{INDENT}theta = 0.0", f"{INDENT}for step in range({block.loop}):"]
        margin += INDENT
    target = "theta = " if once else "theta += "
    lines += [f"{margin}{line}" for line in printer.lines(target=target)]
    lines.append(f"{INDENT}return theta")
    imports = ["import itertools", "import math"]
    imports += ["import jax", "import jax.numpy as jnp"]
    with_options = precision is not None or sums_dtype is not None
    helpers = helper_sections([block], with_options=with_options)
    text = "\n".join([*imports, *helpers, "", "", *lines])
    return text + "\n", tuple(taken)


def _source(name: str, symmetric: bool) -> str:
    """Returns the array that stands for another: factors have no side."""
    kind, number, _ = name.split(":")
    return f"{kind}:{number}:0" if symmetric or kind == "factors" else name
