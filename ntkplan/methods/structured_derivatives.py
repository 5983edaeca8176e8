"""Structured derivatives: every contraction order but the one that forms both J.

Novak, Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
section 3.3 and appendix: the four arrays C1, A1, A2, C2 contracted in the cheapest
    order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import cast

from ntkplan.cost.symbols import evaluate
from ntkplan.ir.statements import Array, Statement
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method, candidate
from ntkplan.methods.contraction import Tree, lower, members, text, trees
from ntkplan.methods.folding import Fold, folded, folds, has_gram, role_arrays
from ntkplan.methods.lookups import ImpossibleOrderError
from ntkplan.methods.network import Frame
from ntkplan.methods.windows import cut_windows

_JACOBIANS = {frozenset(("C1", "A1")), frozenset(("C2", "A2"))}


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns one candidate for every order; none for an opaque leaf.

    A leaf that is only added has no activations. Its one order sums the cotangents
    over positions, which is what Jacobian contraction does too.
    """
    if layer.opaque is not None or layer.by_tangents:
        return ()
    found: dict[str, Candidate] = {}
    for step in (None, *_steps(layer)):
        for tree, fold in _folded_orders(layer, frame):
            try:
                made = _candidate(layer, frame, itemsize, tree, fold, step)
            except ImpossibleOrderError:
                continue
            if made is not None:
                found.setdefault(made.order, made)
    mixed = _each_pair_in_its_own_order(layer, frame, itemsize)
    return (*found.values(), *([] if mixed is None else [mixed]))


_MOST_STEPS = 64
"""Steps up to which a kernel is summed up over a loop's steps one by one."""


def _steps(layer: Layer) -> tuple[str, ...]:
    """Returns the label of the steps over which a leaf is scanned.

    Products of two steps never meet, so that each step may be contracted by itself.
    """
    uses = [stack.first for stack in layer.stacks]
    steps = {use.steps for use in uses}
    if len(steps) != 1 or any(use.patches or use.factors or use.hot for use in uses):
        return ()
    (labels,) = steps
    if len(labels) != 1 or uses[0].sizes[labels[0]] > _MOST_STEPS:
        return ()
    return labels


def _orders() -> list[Tree]:
    """Returns the orders of four arrays that do not form both Jacobians."""
    return [
        tree
        for tree in trees(("C1", "A1", "A2", "C2"))
        if isinstance(tree, tuple)
        and {members(tree[0]), members(tree[1])} != _JACOBIANS
    ]


def _candidate(
    layer: Layer,
    frame: Frame,
    itemsize: int,
    tree: Tree,
    fold: Fold,
    step: str | None,
) -> Candidate | None:
    """Makes the candidate of one order; None where it joins arrays without an axis."""
    pairs = _Pairs(layer, frame, step)
    for first, second in _pairs_of_stacks(layer):
        if not pairs.add(first, second, tree, fold):
            return None
    order = max(dict.fromkeys(pairs.orders), key=len) + " by step" * bool(step)
    return pairs.candidate(order, itemsize)


def _pairs_of_stacks(layer: Layer) -> Iterator[tuple[Stack, Stack]]:
    for stacks in layer.regions:
        yield from itertools.product(stacks, stacks)


# Operations that take as long as moving one byte, on most devices: what decides between
# the orders of a pair, before the planner prices the leaf.
_FLOPS_PER_BYTE = 8
_EXAMPLES = 8


def _each_pair_in_its_own_order(
    layer: Layer, frame: Frame, itemsize: int
) -> Candidate | None:
    """Makes the candidate in which every pair of uses has the order of least work.

    A table that is looked up and also multiplied by, as tied embeddings are, has pairs
    of unlike forms: one order for all would spread out rows that are not looked up.
    """
    hot = any(
        array is not None and array.hot is not None
        for stack in layer.stacks
        for side in (network.side(layer, stack, 0, frame),)
        for array in (side.activations, *side.factors)
    )
    if len(layer.stacks) < 2 or not hot:
        return None
    made = [
        (number, tree, fold, pair)
        for number, stacks in enumerate(_pairs_of_stacks(layer))
        for tree, fold in _folded_orders(layer, frame)
        if (pair := _one_pair(layer, frame, itemsize, stacks, tree, fold)) is not None
    ]
    works = evaluate(
        [pair.work for *_, pair in made],
        n1=_EXAMPLES,
        n2=_EXAMPLES,
        n_outputs=frame.spec.n_basis,
    )
    best: dict[int, tuple[float, Tree, Fold]] = {}
    for (number, tree, fold, _), work in zip(made, works, strict=True):
        moved = float(work.bytes_read + work.bytes_written)
        least = (float(work.flops) + _FLOPS_PER_BYTE * moved, tree, fold)
        if number not in best or least[0] < best[number][0]:
            best[number] = least
    pairs = _Pairs(layer, frame, None)
    for number, stacks in enumerate(_pairs_of_stacks(layer)):
        if number not in best:
            return None
        pairs.add(*stacks, *best[number][1:])
    return pairs.candidate("each pair in its own order", itemsize)


def _folded_orders(layer: Layer, frame: Frame) -> list[tuple[Tree, Fold]]:
    """Returns every order with every place where the leaf's factors may enter it."""
    sides = [network.side(layer, stack, 0, frame) for stack in layer.stacks]
    return [
        (tree, fold)
        for tree, fold in itertools.product(_orders(), folds(sides))
        if fold is not Fold.GRAM or has_gram(tree)
    ]


def _one_pair(
    layer: Layer,
    frame: Frame,
    itemsize: int,
    stacks: tuple[Stack, Stack],
    tree: Tree,
    fold: Fold,
) -> Candidate | None:
    pairs = _Pairs(layer, frame, None)
    try:
        return pairs.candidate("", itemsize) if pairs.add(*stacks, tree, fold) else None
    except ImpossibleOrderError:
        return None


def _at_step(array: Array, step: str) -> Array:
    """Returns an array at one step of a loop."""
    if step not in array.labels:
        return array
    return dataclasses.replace(
        array,
        labels=tuple(label for label in array.labels if label != step),
        step=array.stored.index(step),
    )


class _Pairs:
    """Collects the statements for pairs of stacks of one layer."""

    def __init__(self, layer: Layer, frame: Frame, step: str | None) -> None:
        self._layer, self._frame, self._step = layer, frame, step
        self.sizes = network.label_sizes(layer, frame)
        self.statements: list[Statement] = []
        self.results: list[tuple[Array, float]] = []
        self.orders: list[str] = []
        self._cut: set[str] = set()

    def candidate(self, order: str, itemsize: int) -> Candidate:
        """Returns the candidate that adds up all pairs."""
        return candidate(
            method=Method.STRUCTURED_DERIVATIVES,
            order=order,
            statements=self.statements,
            results=self.results,
            sizes=self.sizes,
            itemsize=itemsize,
            loop=1 if self._step is None else cast(int, self.sizes[self._step]),
        )

    def add(self, first: Stack, second: Stack, tree: Tree, fold: Fold) -> bool:
        """Adds one pair, or says that the tree multiplies what shares no axis."""
        arrays: dict[str, Array] = {}
        factor = 1.0
        for number, stack in enumerate((first, second)):
            side = network.side(self._layer, stack, number, self._frame)
            arrays |= role_arrays(side, number)
            factor *= side.factor
            if side.activations is not None and side.activations.name not in self._cut:
                cut_windows(stack, side, self.statements)
                self._cut.add(side.activations.name)
        if self._step is not None:
            arrays = {
                role: _at_step(array, self._step) for role, array in arrays.items()
            }
        pruned = _pruned(tree, arrays)
        if pruned is None:
            return False
        tree = folded(pruned, arrays, fold)
        if not _connected(tree, arrays):
            return False
        many = len(self._layer.stacks) > 1
        numbers = [self._layer.stacks.index(stack) for stack in (first, second)]
        suffix = f"_{numbers[0]}_{numbers[1]}" if many else ""
        kept = self._frame.kernel_labels
        lowered = lower(tree, arrays, kept, self.sizes, suffix)
        self.statements += lowered.statements
        self.results.append((lowered.result, factor))
        self.orders.append(text(tree))
        return True


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
