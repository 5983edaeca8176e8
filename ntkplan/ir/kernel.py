"""Which kernel is asked for: what becomes of every output axis."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelSpec:
    """The kernel as a reduction of `[n1, n2, o, o]` over pairs of output axes.

    Output axes are counted without the example axis. Every axis is in exactly one of
    the three groups.

    Attributes:
        name: `full`, `trace`, `diagonal`, `sum_of_logits`, or `axes` where trace and
            diagonal axes were given.
        output_shape: Shape of one example's output.
        full_axes: Axes that stand in pairs.
        trace_axes: Axes averaged over with both members of the pair equal.
        diagonal_axes: Axes that stand once, both members of the pair equal.
        matched: Whether example `i` of `x1` meets example `i` of `x2` only.
        whole_batch: Whether the first output axis counts examples (`batch_axis=None`).
    """

    name: str
    output_shape: tuple[int, ...]
    full_axes: tuple[int, ...]
    trace_axes: tuple[int, ...]
    diagonal_axes: tuple[int, ...]
    matched: bool = False
    whole_batch: bool = False

    @property
    def sums_logits(self) -> bool:
        """Whether one vector, ones / sqrt(O), takes the place of the output basis."""
        return self.name == "sum_of_logits"

    def group_size(self, axes: tuple[int, ...]) -> int:
        """Returns the product of the lengths of some output axes."""
        return math.prod(self.output_shape[axis] for axis in axes)

    @property
    def n_full(self) -> int:
        """Basis vectors that meet all others."""
        return 1 if self.sums_logits else self.group_size(self.full_axes)

    @property
    def n_trace(self) -> int:
        """Basis vectors that meet themselves, summed over."""
        return 1 if self.sums_logits else self.group_size(self.trace_axes)

    @property
    def n_diagonal(self) -> int:
        """Basis vectors that meet themselves, kept."""
        return 1 if self.sums_logits else self.group_size(self.diagonal_axes)

    @property
    def n_basis(self) -> int:
        """Vectors in the output basis."""
        return self.n_full * self.n_trace * self.n_diagonal

    @property
    def result_axes(self) -> tuple[int, ...]:
        """Lengths of the kernel's output axes, in the order users know."""
        if self.sums_logits:
            return ()
        lengths: list[int] = []
        for axis, length in enumerate(self.output_shape):
            if axis in self.full_axes:
                lengths += [length, length]
            elif axis in self.diagonal_axes:
                lengths.append(length)
        return tuple(lengths)

    @property
    def output_pairs(self) -> tuple[tuple[int, int], ...]:
        """Axes of the kernel that stand for one output axis of the model, in pairs."""
        if self.sums_logits:
            return ()
        axis = 1 if self.matched else 2
        if self.whole_batch:
            axis = 0
        pairs: list[tuple[int, int]] = []
        for output_axis in range(len(self.output_shape)):
            if output_axis in self.full_axes:
                pairs.append((axis, axis + 1))
                axis += 2
            elif output_axis in self.diagonal_axes:
                axis += 1
        return tuple(pairs)

    def describe(self) -> str:
        """Returns the kernel's shape in words, as `[n1, n2, 10, 10]`."""
        pairs = ["n"] if self.matched else ["n1", "n2"]
        examples = [] if self.whole_batch else pairs
        return "[" + ", ".join([*examples, *map(str, self.result_axes)]) + "]"
