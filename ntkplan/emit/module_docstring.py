"""The emitted module's docstring: what it computes, from what, and how it was made."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from typing import Any

import jax

from ntkplan.emit.layout import LINE_WIDTH
from ntkplan.emit.shape_table import short_text
from ntkplan.emit.wrapping import wrapped

_MOST_LETTERS = 150


def docstring_lines(
    title: str,
    notes: Sequence[str],
    *,
    params: Any,
    x: Any,
    batch_axis: int | None,
    call: str,
) -> list[str]:
    """Writes a docstring; nothing in it changes from one run to the next.

    Args:
        title: Its first sentence.
        notes: The plan's summary, line by line.
        params: Tree of `jax.ShapeDtypeStruct`s.
        x: Likewise.
        batch_axis: The axis that counts examples, or None.
        call: How the plan was made, as Python.
    """
    version = importlib.metadata.version("ntkplan")
    return [
        *_folded(f'"""{title}'),
        "",
        *_folded(_signature(params, x, batch_axis).replace("\\", "\\\\")),
        "",
        *notes,
        "",
        *_folded(
            f"Written by ntkplan {version}; to plan again: {call}. Run as a program, "
            "it compares itself with dense Jacobians."
        ),
        '"""',
    ]


def _signature(params: Any, x: Any, batch_axis: int | None) -> str:
    leaves = jax.tree.leaves(params)
    size = sum(math.prod(leaf.shape) for leaf in leaves)
    dtypes = " and ".join(sorted({str(leaf.dtype) for leaf in leaves}))
    count = "1 leaf" if len(leaves) == 1 else f"{len(leaves)} leaves"
    free = "The number of examples is fixed too."
    if batch_axis is not None:
        free = f"Axis {batch_axis} of x counts examples; n1 and n2 are free."
    return (
        f"Params: {short_text(params, _MOST_LETTERS)}, {size:,} numbers in {count}, "
        f"{dtypes}. x: {_examples(x, batch_axis)}. {free}"
    )


def _examples(x: Any, batch_axis: int | None) -> str:
    """Describes x in short, its number of examples as n."""

    def without_count(spec: Any) -> str:
        sizes = [str(size) for size in spec.shape]
        if batch_axis is not None:
            sizes[batch_axis] = "n"
        return f"{spec.dtype}[{','.join(sizes)}]"

    leaves = jax.tree.leaves(x)
    return ", ".join(dict.fromkeys(map(without_count, leaves)))


def _folded(text: str) -> list[str]:
    return wrapped(text, LINE_WIDTH) or [""]
