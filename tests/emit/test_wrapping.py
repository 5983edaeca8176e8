"""Comments are folded between words that do not belong together."""

from __future__ import annotations

import pytest

from ntkplan.emit.wrapping import wrapped

ORDERS = ("(C1 C2)(A1 A2)", "C1 ((A1 A2) C2)", "((C1 K1) A1)((C2 K2) A2)", "C1 C2")
QUANTITIES = ("1.77 us", "0 s", "446 kflop", "25 leaves")


@pytest.mark.parametrize("width", range(28, 60, 3))
def test_orders_and_quantities_stay_whole(width):
    pieces = [text for pair in zip(ORDERS, QUANTITIES, strict=True) for text in pair]
    text = f"layers/weight [4x4]: {', '.join(pieces)}; push 0 s."
    lines = wrapped(text, width)
    assert max(map(len, lines)) <= width
    assert " ".join(lines) == text
    for piece in pieces:
        assert any(piece in line for line in lines), piece


def test_a_path_longer_than_a_line_ends_at_a_slash():
    path = "/".join(["transformer_layer"] * 4)
    assert wrapped(f"{path}: 3 us", 40) == [
        "transformer_layer/transformer_layer/",
        "transformer_layer/transformer_layer:",
        "3 us",
    ]
