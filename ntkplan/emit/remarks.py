"""What the source says above the statements of a leaf, or of several that are alike."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.errors import readable_bytes
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.quantities import duration, quantity
from ntkplan.methods.candidate import Method


def remark(layers: Sequence[LayerPlan], within: str) -> tuple[str, ...]:
    """Says how a leaf is contracted, and what that is estimated to take.

    Args:
        layers: The leaf, or leaves that are contracted alike.
        within: The path of the part of the model that they lie in; empty for none.
    """
    if not layers:
        return ()
    first = layers[0]
    path = first.path.removeprefix(f"{within}/") if within else first.path
    shape = _shapes(layers)
    text = f"{path or 'params'} {shape}: {first.method}, {first.order}"
    if first.method == Method.NTK_VECTOR_PRODUCTS.value:
        return (text,)
    chosen = [layer.chosen for layer in layers]
    together = f"; {len(layers)} times, together" if len(layers) > 1 else ";"
    return (
        f"{text}{together} {quantity(sum(item.flops for item in chosen))}flop, "
        f"{readable_bytes(sum(item.bytes_moved for item in chosen))}, "
        f"{duration(sum(item.seconds for item in chosen))}",
    )


def _shapes(layers: Sequence[LayerPlan]) -> str:
    texts = ["x".join(map(str, layer.shape)) or "scalar" for layer in layers]
    first, *others = dict.fromkeys(texts)
    if not others:
        return f"[{first}]"
    return f"[{first}] and {len(others)} more shape{'s' * (len(others) > 1)}"
