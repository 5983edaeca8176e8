"""What the source says above the statements of a leaf, or of several that are alike."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from ntkplan.errors import readable_bytes
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.quantities import duration, quantity


def remark(
    rows: Sequence[Sequence[LayerPlan]], within: Sequence[str] = ()
) -> tuple[str, ...]:
    """Says how leaves are contracted, and what that is estimated to take.

    Args:
        rows: Leaves that are contracted together, each with those in like parts of the
            model.
        within: Path of the part of the model that the first ones lie in, if in one;
            their paths are told as seen from there.
    """
    if not rows:
        return ()
    first, layers = rows[0][0], [layer for row in rows for layer in row]
    place = within[0] if within else ""
    named = [f"{_path(row[0], place)} [{_shapes(row)}]" for row in rows]
    text = f"{', '.join(named)}: {first.method}, {first.order}"
    chosen = [layer.chosen for layer in layers]
    together = " together" if len(layers) > 1 else ""
    return (
        f"{text};{together} {quantity(sum(item.flops for item in chosen))}flop, "
        f"{readable_bytes(sum(item.bytes_moved for item in chosen))}, "
        f"{duration(sum(item.seconds for item in chosen))}",
    )


def pushed_remark(layers: Sequence[LayerPlan]) -> tuple[str, ...]:
    """Says which leaves are pushed forward together, their numbers folded.

    They are priced together, so that no estimate is told of one.
    """
    rows: dict[tuple[str, str], dict[str, list[LayerPlan]]] = {}
    for layer in layers:
        places = rows.setdefault((layer.method, layer.order), {})
        places.setdefault(re.sub(r"\d+", "*", layer.path), []).append(layer)
    return tuple(
        ", ".join(
            f"{place if len(row) > 1 else _path(row[0], '')} [{_shapes(row)}]"
            for place, row in places.items()
        )
        + f": {method}, {order}"
        for (method, order), places in rows.items()
    )


def _path(layer: LayerPlan, within: str) -> str:
    path = layer.path.removeprefix(f"{within}/") if within else layer.path
    return path or "params"


def _shapes(layers: Sequence[LayerPlan]) -> str:
    texts = ["x".join(map(str, layer.shape)) or "scalar" for layer in layers]
    first, *others = dict.fromkeys(texts)
    return f"{first} to {others[-1]}" if others else first


def comment_lines(texts: Sequence[str], width: int) -> list[str]:
    """Prints texts as comments, folded to a width."""
    return [f"# {line}" for text in texts for line in textwrap.wrap(text, width - 2)]
