"""The tensor network of one leaf: its arrays, their labels and the labels' lengths.

    Theta[n, m, o, p] += sum over pairs of stacks of contract(C1, A1, A2, C2)

Labels of the parameter are shared by both sides. Labels of positions are private to a
side, and carry its number. The output basis is in three groups: full (`o` and `p`),
trace (shared and summed) and diagonal (shared and kept).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.statements import Array
from ntkplan.ir.use import Layer, Stack, Use

EXAMPLES = ("examples1", "examples2")
FULL = ("full1", "full2")
TRACE = "trace"
DIAGONAL = "diagonal"
STACKED = "stacked"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """What all leaves of a kernel share: labels of examples and of the output basis.

    Attributes:
        spec: The kernel.
        sizes: Length of every shared label; symbols where a plan may be re-priced.
    """

    spec: KernelSpec
    sizes: Mapping[str, Size]

    def examples(self, side: int) -> str:
        """Returns the label of the examples of a side, 0 or 1."""
        return EXAMPLES[0] if self.spec.matched else EXAMPLES[side]

    def basis(self, side: int) -> tuple[str, ...]:
        """Returns the labels of the output basis on a side."""
        wanted = (DIAGONAL, TRACE, FULL[side])
        return tuple(label for label in wanted if label in self.sizes)

    @property
    def kernel_labels(self) -> tuple[str, ...]:
        """Labels of the kernel while it is summed up."""
        wanted = (DIAGONAL, EXAMPLES[0], FULL[0], EXAMPLES[1], FULL[1])
        return tuple(
            label
            for label in wanted
            if label in self.sizes and not (self.spec.matched and label == EXAMPLES[1])
        )


def frame(spec: KernelSpec, *, fixed_outputs: bool = False) -> Frame:
    """Makes the frame of a kernel; a group of one basis vector has no label.

    The number of outputs is a symbol where one group holds all of them, unless it is
    fixed: that of the values at a cut.
    """
    groups = {
        FULL[0]: spec.n_full,
        FULL[1]: spec.n_full,
        TRACE: spec.n_trace,
        DIAGONAL: spec.n_diagonal,
    }
    sizes: dict[str, Size] = {EXAMPLES[0]: symbols.n1, EXAMPLES[1]: symbols.n2}
    if spec.whole_batch:
        sizes = {EXAMPLES[0]: 1, EXAMPLES[1]: 1}
    for label, size in groups.items():
        if size > 1:
            is_symbol = size == spec.n_basis and not fixed_outputs
            sizes[label] = symbols.n_outputs if is_symbol else size
    return Frame(spec=spec, sizes=sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """What one stack of uses gives on one side of the kernel.

    Attributes:
        cotangents: C, d output / d value.
        recorded: The recorded activations, before windows are cut; None where constant.
        activations: A, or None where the data side is constant.
        factors: K, arrays by which the product is multiplied.
        factor: A number by which it is multiplied.
    """

    cotangents: Array
    recorded: Array | None
    activations: Array | None
    factors: tuple[Array, ...]
    factor: float


def side(layer: Layer, stack: Stack, number: int, shared: Frame) -> Side:
    """Returns the arrays of a stack on side 0 or 1.

    Args:
        layer: The layer of the stack.
        stack: Uses of one form.
        number: 0 for `x1`, 1 for `x2`.
        shared: The kernel's frame.
    """
    use = stack.first
    index = layer.stacks.index(stack)
    many = (_stacked(index, number),) if len(stack.uses) > 1 else ()

    def private(labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(_private(use, label, index, number) for label in labels)

    example = (shared.examples(number),)
    factors = []
    for position, (factor, factor_id) in enumerate(
        zip(use.factors, stack.factor_ids, strict=True)
    ):
        lead = () if factor.shared else example
        each = many if len(stack.factor_variables(position)) > 1 else ()
        kind = "factors" if factor.shared else "activations"
        hot = () if factor.hot is None else private((factor.hot,))
        factors.append(
            Array(
                name=input_name(kind, factor_id, number),
                labels=(*lead, *each, *private(factor.labels), *hot),
                hot=hot[0] if hot else None,
            )
        )
    recorded = activations = None
    if use.recorded is not None:
        lead = () if use.shared else example
        hot = () if use.hot is None else private((use.hot,))
        recorded = activations = Array(
            name=input_name(
                "factors" if use.shared else "activations", stack.activations_id, number
            ),
            labels=(*lead, *many, *private(use.activations), *hot),
            hot=hot[0] if hot else None,
        )
    if recorded is not None and use.patches is not None:
        activations = dataclasses.replace(
            recorded, name=input_name("windows", stack.activations_id, number)
        )
    return Side(
        cotangents=Array(
            name=input_name("cotangents", stack.cotangents_id, number),
            labels=(*example, *shared.basis(number), *many, *private(use.value)),
        ),
        recorded=recorded,
        activations=activations,
        factors=tuple(factors),
        factor=use.factor,
    )


def _private(use: Use, label: str, stack: int, number: int) -> str:
    """Returns a use's label in the network: labels of the leaf are the same in all."""
    return label if label in use.parameter else f"{label}.{stack}@{number}"


def _stacked(stack: int, number: int) -> str:
    return f"{STACKED}.{stack}@{number}"


def input_name(kind: str, array_id: int, number: int) -> str:
    """Names an array that the kernel function is given; the emitter renames it.

    Args:
        kind: `cotangents`, `activations`, `windows` or `factors`.
        array_id: Which of that kind.
        number: 0 for `x1`, 1 for `x2`.
    """
    return f"{kind}:{array_id}:{number}"


def label_sizes(layer: Layer, shared: Frame) -> dict[str, Size]:
    """Returns the length of every label in a leaf's network."""
    sizes: dict[str, Size] = dict(shared.sizes)
    for index, stack in enumerate(layer.stacks):
        for number in (0, 1):
            sizes[_stacked(index, number)] = len(stack.uses)
            for label, size in stack.first.sizes.items():
                sizes[_private(stack.first, label, index, number)] = size
    return sizes
