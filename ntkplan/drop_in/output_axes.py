"""Axes of the kernel, in the order in which neural_tangents returns them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ntkplan.errors import ConflictingOptionsError

Axes = int | Sequence[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputAxes:
    """What becomes of every axis of an output, its example axis among them.

    Attributes:
        rank: How many axes there are.
        trace: Axes that are averaged over, in order.
        diagonal: Axes that stand once, in order.
    """

    rank: int
    trace: tuple[int, ...]
    diagonal: tuple[int, ...]

    @property
    def full(self) -> tuple[int, ...]:
        """Axes that stand in pairs, in order."""
        once = {*self.trace, *self.diagonal}
        return tuple(axis for axis in range(self.rank) if axis not in once)

    def width(self, axis: int) -> int:
        """Returns how many axes of the kernel an output axis takes."""
        return 2 if axis in self.full else int(axis in self.diagonal)

    def behind_a_new_first(self) -> tuple[list[int], list[int]]:
        """Returns trace and diagonal axes where one more axis comes first."""
        return [axis + 1 for axis in self.trace], [axis + 1 for axis in self.diagonal]

    def with_examples_first(self, example_axis: int) -> tuple[list[int], list[int]]:
        """Returns trace and diagonal axes where the example axis is moved to the front.

        The example axis itself is in neither.
        """

        def moved(axes: Sequence[int]) -> list[int]:
            return [
                axis + 1 if axis < example_axis else axis
                for axis in axes
                if axis != example_axis
            ]

        return moved(self.trace), moved(self.diagonal)

    def put_examples_back(self, kernel: jax.Array, example_axis: int) -> jax.Array:
        """Moves the kernel's first axes to where the output has its examples.

        Args:
            kernel: `[n1, n2, ...]`; `[n, ...]` of matched examples where the example
                axis is a trace or a diagonal axis.
            example_axis: The output's example axis.
        """
        if example_axis in self.trace:
            return jnp.mean(kernel, axis=0)
        place = sum(self.width(axis) for axis in range(example_axis))
        width = self.width(example_axis)
        return jnp.moveaxis(kernel, range(width), range(place, place + width))

    def gather(self, output: jax.Array) -> jax.Array:
        """Brings all full axes of an output into one, which comes first."""
        kept = [axis for axis in range(self.rank) if axis not in self.full]
        ordered = jnp.transpose(output, (*self.full, *kept))
        rest = ordered.shape[len(self.full) :]
        return ordered.reshape(math.prod(ordered.shape[: len(self.full)]), *rest)

    def spread(
        self, kernel: jax.Array, shape1: Sequence[int], shape2: Sequence[int]
    ) -> jax.Array:
        """Undoes `gather` on both sides of a kernel.

        Args:
            kernel: `[f1, f2, *diagonal axes]`.
            shape1: Shape of the output on the first side.
            shape2: Shape of the output on the second side.
        """
        n_full = len(self.full)
        lengths1 = [shape1[axis] for axis in self.full]
        lengths2 = [shape2[axis] for axis in self.full]
        apart = kernel.reshape(*lengths1, *lengths2, *kernel.shape[2:])
        order: list[int] = []
        for axis in range(self.rank):
            if axis in self.full:
                place = self.full.index(axis)
                order += [place, n_full + place]
            elif axis in self.diagonal:
                order.append(2 * n_full + self.diagonal.index(axis))
        return jnp.transpose(apart, order)


def read_output_axes(
    trace_axes: Axes, diagonal_axes: Axes, shape: Sequence[int]
) -> OutputAxes:
    """Reads `trace_axes` and `diagonal_axes` for an output of some shape.

    Raises:
        ConflictingOptionsError: An axis is out of range, or named twice.

    Example:
        >>> read_output_axes((-1,), 1, [6, 5, 3])
        OutputAxes(rank=3, trace=(2,), diagonal=(1,))
    """
    trace = _positive("trace_axes", trace_axes, shape)
    diagonal = _positive("diagonal_axes", diagonal_axes, shape)
    named = [*trace, *diagonal]
    if len(set(named)) != len(named):
        raise ConflictingOptionsError(
            what=f"trace_axes={trace_axes} and diagonal_axes={diagonal_axes} name an "
            f"axis of the output {list(shape)} twice",
            hint="Name every axis once, in one of the two",
        )
    return OutputAxes(rank=len(shape), trace=trace, diagonal=diagonal)


def _positive(name: str, axes: Axes, shape: Sequence[int]) -> tuple[int, ...]:
    rank = len(shape)
    listed = [axes] if isinstance(axes, int) else list(axes)
    for axis in listed:
        if not -rank <= axis < rank:
            raise ConflictingOptionsError(
                what=f"{name} names axis {axis}, and the output has the shape "
                f"{list(shape)}",
                hint=f"Name axes of the output, or pass {name}=()",
            )
    return tuple(sorted(axis % rank for axis in listed))
