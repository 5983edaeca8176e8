"""Axes of partial products: what is copied keeps its innermost axes together."""

from __future__ import annotations

import pytest

from ntkplan.ir.statements import Array, Contract
from ntkplan.methods.contraction import Tree, lower

_LABELS = {"C1": "nosy", "A1": "nsx", "A2": "mtx", "C2": "mpty"}
_SIZES = dict.fromkeys("nmopstxy", 2)


@pytest.mark.parametrize(
    ("tree", "operands", "labels"),
    [
        # The reader's batch is n, then m: it is brought by the Gram in both cases.
        (("C1", (("A1", "A2"), "C2")), ("gram", "C2"), "mnspy"),
        ((("C1", ("A1", "A2")), "C2"), ("gram", "C1"), "nmtoy"),
        # A Jacobian is a matrix as it is left.
        ((("C1", "A1"), ("C2", "A2")), ("C1", "A1"), "noyx"),
    ],
)
def test_the_operand_with_the_next_batch_comes_first(
    tree: Tree, operands: tuple[str, str], labels: str
) -> None:
    arrays = {name: Array(name=name, labels=tuple(_LABELS[name])) for name in _LABELS}
    statements = lower(tree, arrays, tuple("nomp"), _SIZES).statements
    products = [item for item in statements if isinstance(item, Contract)]
    made = next(item for item in products if "".join(item.target.labels) == labels)
    assert (made.left.name, made.right.name) == operands
