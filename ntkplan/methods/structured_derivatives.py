"""Structured derivatives: every contraction order but the one that forms both J.

Novak, Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
section 3.3 and appendix: the four arrays C1, A1, A2, C2 contracted in the cheapest
    order.
"""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.ir.program import Array, Statement
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method, candidate
from ntkplan.methods.contraction import Tree, lower, members, text, trees
from ntkplan.methods.network import Frame
from ntkplan.methods.windows import cut_windows

_JACOBIANS = {frozenset(("C1", "A1")), frozenset(("C2", "A2"))}


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns one candidate for every order; none for an opaque leaf.

    A leaf that is only added has no activations. Its one order sums the cotangents
    over positions, which is what Jacobian contraction does too.
    """
    if layer.opaque is not None:
        return ()
    found: dict[str, Candidate] = {}
    for tree in _orders():
        made = _candidate(layer, frame, itemsize, tree)
        if made is not None:
            found.setdefault(made.order, made)
    return tuple(found.values())


def _orders() -> list[Tree]:
    """Returns the orders of four arrays that do not form both Jacobians."""
    return [
        tree
        for tree in trees(("C1", "A1", "A2", "C2"))
        if isinstance(tree, tuple)
        and {members(tree[0]), members(tree[1])} != _JACOBIANS
    ]


def _candidate(
    layer: Layer, frame: Frame, itemsize: int, tree: Tree
) -> Candidate | None:
    statements: list[Statement] = []
    results: list[tuple[Array, float]] = []
    orders: list[str] = []
    cut: set[str] = set()
    for first in layer.stacks:
        for second in layer.stacks:
            order = _pair(layer, frame, (first, second), tree, statements, results, cut)
            if order is None:
                return None
            orders.append(order)
    return candidate(
        method=Method.STRUCTURED_DERIVATIVES,
        order=max(dict.fromkeys(orders), key=len),
        statements=statements,
        results=results,
        sizes=network.label_sizes(layer, frame),
        itemsize=itemsize,
    )


def _pair(
    layer: Layer,
    frame: Frame,
    stacks: tuple[Stack, Stack],
    tree: Tree,
    statements: list[Statement],
    results: list[tuple[Array, float]],
    cut: set[str],
) -> str | None:
    """Adds the statements for one pair of stacks.

    Returns:
        The order as text, or None where the tree multiplies arrays that share no axis.
    """
    arrays: dict[str, Array] = {}
    factor = 1.0
    for number, stack in enumerate(stacks):
        side = network.side(layer, stack, number, frame)
        arrays[f"C{number + 1}"] = side.cotangents
        factor *= side.factor
        if side.activations is not None:
            arrays[f"A{number + 1}"] = side.activations
            if side.activations.name not in cut:
                cut_windows(stack, side, statements)
                cut.add(side.activations.name)
    pruned = _pruned(tree, arrays)
    if pruned is None or not _connected(pruned, arrays):
        return None
    many = len(layer.stacks) > 1
    numbers = [layer.stacks.index(stack) for stack in stacks]
    suffix = f"_{numbers[0]}_{numbers[1]}" if many else ""
    lowered = lower(pruned, arrays, frame.kernel_labels, suffix)
    statements += lowered.statements
    results.append((lowered.result, factor))
    return text(pruned)


def _pruned(tree: Tree, present: dict[str, Array] | Sequence[str]) -> Tree | None:
    """Takes the roles out of a tree that a pair of uses does not have."""
    if isinstance(tree, str):
        return tree if tree in present else None
    left, right = _pruned(tree[0], present), _pruned(tree[1], present)
    if left is None or right is None:
        return right if left is None else left
    return left, right


def _connected(tree: Tree, arrays: dict[str, Array]) -> bool:
    """Says whether every product but the last has a label to join its members."""

    def labels(node: Tree) -> set[str]:
        return {label for role in members(node) for label in arrays[role].labels}

    def inner(node: Tree) -> bool:
        if isinstance(node, str):
            return True
        joined = not labels(node[0]).isdisjoint(labels(node[1]))
        return joined and inner(node[0]) and inner(node[1])

    if isinstance(tree, str):
        return True
    return all(inner(part) for part in tree)
