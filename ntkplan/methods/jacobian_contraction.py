"""Jacobian contraction: J1 and J2 in full, then their product.

Novak, Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
section 3.1: N O P memory, N^2 O^2 P time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan.cost.symbols import Size
from ntkplan.ir.statements import Array, Statement, Sum
from ntkplan.ir.use import Layer, Stack
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method, candidate
from ntkplan.methods.contraction import Lowered, Tree, lower, text
from ntkplan.methods.folding import Fold, folded, folds, role_arrays
from ntkplan.methods.lookups import ImpossibleOrderError
from ntkplan.methods.network import Frame, Side
from ntkplan.methods.windows import cut_windows


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns the candidates of this method; every leaf has one.

    A leaf with data-free factors has one for every place where they may enter.
    """
    sides = [network.side(layer, stack, 0, frame) for stack in layer.stacks]
    found: dict[str, Candidate] = {}
    for fold in folds(sides):
        try:
            made = _candidate(layer, frame, itemsize, fold)
        except ImpossibleOrderError:
            continue
        found.setdefault(made.order, made)
    return tuple(found.values())


def _candidate(layer: Layer, frame: Frame, itemsize: int, fold: Fold) -> Candidate:
    statements: list[Statement] = []
    results: list[tuple[Array, float]] = []
    sizes = network.label_sizes(layer, frame)
    order = "J1 J2"
    for number, stacks in enumerate(layer.regions):
        suffix = f"_part{number}" if len(layer.regions) > 1 else ""
        formed = _Jacobians(layer, stacks, frame, sizes, fold, suffix)
        jacobians = [formed.of_side(side, statements) for side in (0, 1)]
        product = lower(
            ("J1", "J2"),
            {"J1": jacobians[0], "J2": jacobians[1]},
            frame.kernel_labels,
            sizes,
            suffix,
        )
        statements += product.statements
        results.append((product.result, _factor(stacks)))
        order = order if layer.opaque else formed.order
    if layer.by_tangents:
        order = "J1 J2, tangents first"
    return candidate(
        method=Method.JACOBIAN_CONTRACTION,
        order=order,
        statements=statements,
        results=results,
        sizes=sizes,
        itemsize=itemsize,
    )


def _factor(stacks: Sequence[Stack]) -> float:
    """One stack's factor is applied to the small result, several to each Jacobian."""
    return stacks[0].first.factor ** 2 if len(stacks) == 1 else 1.0


class _Jacobians:
    """Forms the Jacobians of one part of a leaf."""

    def __init__(
        self,
        layer: Layer,
        stacks: Sequence[Stack],
        frame: Frame,
        sizes: Mapping[str, Size],
        fold: Fold,
        suffix: str,
    ) -> None:
        self._layer, self._stacks, self._frame = layer, stacks, frame
        self._sizes, self._fold, self._suffix = sizes, fold, suffix
        self.order = ""

    def of_side(self, number: int, statements: list[Statement]) -> Array:
        """Adds the statements that form the Jacobian of one side."""
        frame, stacks = self._frame, self._stacks
        kept = (frame.examples(number), *frame.basis(number), *self._parameter())
        name = f"jacobian{number + 1}{self._suffix}"
        terms: list[Array] = []
        factors: list[float] = []
        for index, stack in enumerate(stacks):
            side = network.side(self._layer, stack, number, frame)
            suffix = self._suffix + (f"_{index}" if len(stacks) > 1 else "")
            if side.activations is not None:
                cut_windows(stack, side, statements)
            lowered = self._product(side, number, kept, suffix)
            statements += lowered.statements
            terms.append(lowered.result)
            factors.append(side.factor)
        if len(terms) == 1:
            return terms[0]
        target = Array(name=name, labels=kept)
        statements.append(
            Sum(target=target, terms=tuple(terms), factors=tuple(factors))
        )
        return target

    def _parameter(self) -> list[str]:
        """Orders the parameter's axes: those first that cotangents have.

        The product of cotangents and activations leaves them so, next to the outputs;
        in the parameter's own order the whole Jacobian would be transposed.
        """
        stack = self._stacks[0]
        cotangents = network.side(self._layer, stack, 0, self._frame).cotangents
        return sorted(
            stack.first.parameter, key=lambda label: label not in cotangents.labels
        )

    def _product(
        self, side: Side, number: int, kept: tuple[str, ...], suffix: str
    ) -> Lowered:
        arrays = role_arrays(side, number)
        cotangents, activations = f"C{number + 1}", f"A{number + 1}"
        tree: Tree = cotangents
        if side.activations is not None:
            tree = (cotangents, activations)
        tree = folded(tree, arrays, self._fold)
        spelled = text(tree)
        order = f"({spelled})({spelled.replace('1', '2')})"
        if number == 0 and len(order) > len(self.order):
            self.order = order
        return lower(tree, arrays, kept, self._sizes, suffix)
