"""What the source says above the statements of a leaf, or of several that are alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ntkplan.emit.wrapping import wrapped
from ntkplan.errors import readable_bytes
from ntkplan.ir.plan import Alternative, LayerPlan
from ntkplan.ir.quantities import duration, quantity


def remark(
    rows: Sequence[Sequence[LayerPlan]],
    within: Sequence[str] = (),
    *,
    method: bool = True,
) -> tuple[str, ...]:
    """Says how leaves are contracted, and what that is estimated to take.

    Args:
        rows: Leaves that are contracted together, each with those in like parts of the
            model.
        within: Path of the part of the model that the first ones lie in, if in one;
            their paths are told as seen from there.
        method: Whether to say how, and not only what it takes.
    """
    if not rows:
        return ()
    first, layers = rows[0][0], [layer for row in rows for layer in row]
    text = f"{_named(rows, within)}:"
    text += f" {first.method}, {first.order};" if method else ""
    chosen = [layer.chosen for layer in layers]
    together = " together" if len(layers) > 1 else ""
    return (f"{text}{together} {_taken(chosen)}",)


def biases_remark(
    rows: Sequence[Sequence[LayerPlan]], within: Sequence[str] = ()
) -> tuple[str, ...]:
    """Says which biases are computed with their weights; there is no estimate of that.

    Args:
        rows: Biases, each with those in like parts of the model.
        within: As for `remark`.
    """
    return (f"with biases: {_named(rows, within)}",) if rows else ()


def _named(rows: Sequence[Sequence[LayerPlan]], within: Sequence[str]) -> str:
    place = within[0] if within else ""
    return ", ".join(f"{_path(row[0], place)} [{_shapes(row)}]" for row in rows)


def _taken(chosen: Sequence[Alternative]) -> str:
    """Says what some leaves are estimated to take together."""
    return (
        f"{quantity(sum(item.flops for item in chosen))}flop, "
        f"{readable_bytes(sum(item.bytes_moved for item in chosen))}, "
        f"{duration(sum(item.seconds for item in chosen))}"
    )


def kind_remark(
    records: Sequence[tuple[str, LayerPlan]],
    biases: Sequence[tuple[str, LayerPlan]],
    paths: Mapping[str, str],
) -> tuple[str, ...]:
    """Says what leaves of one kind are estimated to take, their numbers folded.

    Args:
        records: The leaves, each with the key of the part of the model that it is in.
        biases: Those that are computed with them.
        paths: Paths of the parts by their keys.
    """
    if not records:
        return ()
    taken = _taken([layer.chosen for _, layer in records])
    lines = (f"{_folded(records, paths)}: {taken}",)
    return (*lines, f"with biases: {_folded(biases, paths)}") if biases else lines


def _folded(records: Sequence[tuple[str, LayerPlan]], paths: Mapping[str, str]) -> str:
    named = [_path(layer, paths.get(part, "")) for part, layer in records]
    return ", ".join(sorted({re.sub(r"(?<=/)\d+(?=/)", "*", path) for path in named}))


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
    return [f"# {line}" for text in texts for line in wrapped(text, width - 2)]
