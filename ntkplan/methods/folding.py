"""Where the factors of a use enter an order of contraction.

    J[n, o, parameter] = sum of C[n, o, value] * A[n, activations] * K[...]

K is multiplied into C or into A before anything else, or into their product. A slope on
the way to a later tap has positions that C lacks, so it never goes there: it is
multiplied into A, or into the product of both sides' A, which is less work where the
positions are few.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from ntkplan.ir.statements import Array
from ntkplan.methods.contraction import Tree
from ntkplan.methods.network import Side


class Fold(enum.Enum):
    """What the factors are multiplied into first."""

    COTANGENTS = "C"
    ACTIVATIONS = "A"
    JACOBIAN = "J"
    GRAM = "G"


def folds(sides: Sequence[Side]) -> tuple[Fold, ...]:
    """Returns the folds that make a difference; one where there are no factors."""
    if not any(side.factors for side in sides):
        return (Fold.COTANGENTS,)
    if any(_is_slope(factor, side) for side in sides for factor in side.factors):
        return (Fold.ACTIVATIONS, Fold.GRAM)
    return (Fold.COTANGENTS, Fold.ACTIVATIONS, Fold.JACOBIAN)


def _is_slope(factor: Array, side: Side) -> bool:
    """Says whether a factor differs by example and has axes that C lacks."""
    labels, cotangents = factor.labels, side.cotangents.labels
    return cotangents[0] in labels and not set(labels) <= set(cotangents)


def role_arrays(side: Side, number: int) -> dict[str, Array]:
    """Returns the arrays of one side by their roles, `C1`, `A1`, `K1_0` and so on."""
    arrays = {f"C{number + 1}": side.cotangents}
    if side.activations is not None:
        arrays[f"A{number + 1}"] = side.activations
    for index, factor in enumerate(side.factors):
        arrays[f"K{number + 1}_{index}"] = factor
    return arrays


def folded(tree: Tree, arrays: Mapping[str, Array], fold: Fold) -> Tree:
    """Puts factors into a tree of cotangents and activations.

    Args:
        tree: A role or a product of trees.
        arrays: What there is by role; the factors among them are put in.
        fold: What they are multiplied into. They go into the cotangents of a side that
            has no activations, or where the two do not meet in a product.
    """
    if fold is Fold.GRAM:
        return _into_gram(tree, arrays)
    if isinstance(tree, str):
        number = tree[1]
        target = fold.value if f"A{number}" in arrays else Fold.COTANGENTS.value
        if target == Fold.JACOBIAN.value:
            target = Fold.COTANGENTS.value
        return _times(tree, number, arrays) if tree[0] == target else tree
    if fold is Fold.JACOBIAN and all(isinstance(part, str) for part in tree):
        left, right = tree
        if {left[0], right[0]} == {"C", "A"} and left[1] == right[1]:
            return _times(tree, str(left[1]), arrays)
    return (folded(tree[0], arrays, fold), folded(tree[1], arrays, fold))


def has_gram(tree: Tree) -> bool:
    """Says whether the activations of both sides meet in a product of their own."""
    if isinstance(tree, str):
        return False
    return set(tree) == {"A1", "A2"} or any(map(has_gram, tree))


def _into_gram(tree: Tree, arrays: Mapping[str, Array]) -> Tree:
    """Puts factors into the product of the activations, or else into each of them."""
    if not has_gram(tree):
        return folded(tree, arrays, Fold.ACTIVATIONS)
    if set(tree) == {"A1", "A2"}:
        return _times(_times(tree, "1", arrays), "2", arrays)
    return (_into_gram(tree[0], arrays), _into_gram(tree[1], arrays))


def _times(tree: Tree, number: str, arrays: Mapping[str, Array]) -> Tree:
    """Multiplies by a side's factors, those that met the leaf last first."""
    roles = [role for role in arrays if role.startswith(f"K{number}_")]
    for role in reversed(roles):
        tree = (tree, role)
    return tree
