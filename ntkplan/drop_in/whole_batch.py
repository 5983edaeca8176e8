"""Kernels of whole batches, `vmap_axes=None`: examples may interact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.api import plan
from ntkplan.drop_in.inputs import Layout
from ntkplan.drop_in.output_axes import OutputAxes, read_output_axes
from ntkplan.drop_in.question import (
    KernelOfLeaves,
    Question,
    Sorted,
    every_leaf,
    in_the_words_of_vmap_axes,
    output_paths,
    sort_leaves,
)
from ntkplan.errors import MismatchedInputsError, VmapAxesError


def plan_whole_batch(
    question: Question,
    layout: Layout,
    leaves1: list[Any],
    leaves2: list[Any] | None,
    params: Any,
    output_shapes: tuple[Any, Any],
) -> KernelOfLeaves:
    """Plans one kernel for every output, all examples of a batch taken together.

    Args:
        question: What is asked.
        layout: What each leaf is; none has an example axis.
        leaves1: Leaves of the first side.
        leaves2: Leaves of the second side, or None for the first again.
        params: Parameters.
        output_shapes: The trees of shapes that the model returns for both sides.

    Returns:
        A function that computes all kernels.

    Raises:
        NtkPlanError: Something is wrong with the input.
    """
    if jax.tree.leaves(question.axes.outputs):
        raise VmapAxesError(
            what="vmap_axes say where the examples are in what f returns, and not in "
            "what it is given",
            hint="Give the example axis of x too, or vmap_axes=None",
        )
    shapes1, shapes2 = (
        [tuple(spec.shape) for spec in jax.tree.leaves(tree)] for tree in output_shapes
    )
    alike = leaves2 is None or _shapes(leaves1) == _shapes(leaves2)
    make = _one_shape if alike else _two_shapes
    parts: list[KernelOfLeaves] = []
    paths = output_paths(output_shapes[0])
    for path, shape1, shape2 in zip(paths, shapes1, shapes2, strict=True):
        with in_the_words_of_vmap_axes(path):
            axes = read_output_axes(question.trace_axes, question.diagonal_axes, shape1)
            _check_outputs(axes, shape1, shape2)
            output = _Output(question, layout, len(parts), axes, (shape1, shape2))
            parts.append(make(output, leaves1, leaves2, params))

    def compute(
        leaves1: list[Any], leaves2: list[Any] | None, params: Any
    ) -> list[jax.Array]:
        return [kernel for part in parts for kernel in part(leaves1, leaves2, params)]

    return compute


class _Output:
    """One output of the model, of a whole batch."""

    def __init__(
        self,
        question: Question,
        layout: Layout,
        index: int,
        axes: OutputAxes,
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> None:
        self.question, self.layout, self.index = question, layout, index
        self.axes, self.shapes = axes, shapes

    def __call__(self, params: Any, inputs: dict[str, list[Any]]) -> jax.Array:
        """Returns the output."""
        return self.question.outputs(self.layout, params, examples=[], **inputs)[
            self.index
        ]

    def inputs(self, leaves: list[Any]) -> dict[str, list[Any]]:
        """Returns the arrays of one side."""
        found: Sorted = sort_leaves(self.layout, leaves)
        return {"common": found.common, "own": found.own}


def _one_shape(
    output: _Output, leaves1: list[Any], leaves2: list[Any] | None, params: Any
) -> KernelOfLeaves:
    """Plans the kernel of batches of one shape, each as one example."""
    trace, diagonal = output.axes.behind_a_new_first()
    kernel = plan(
        lambda params, inputs: output(params, inputs)[None],
        params,
        output.inputs(leaves1),
        None if leaves2 is None else output.inputs(leaves2),
        trace_axes=trace or None,
        diagonal_axes=diagonal or None,
        wrt=every_leaf,
        batch_axis=None,
        methods=output.question.methods,
    ).compile()

    def compute(
        leaves1: list[Any], leaves2: list[Any] | None, params: Any
    ) -> list[jax.Array]:
        x2 = None if leaves2 is None else output.inputs(leaves2)
        return [jnp.squeeze(kernel(params, output.inputs(leaves1), x2), (0, 1))]

    return compute


def _two_shapes(
    output: _Output, leaves1: list[Any], leaves2: list[Any] | None, params: Any
) -> KernelOfLeaves:
    """Plans the kernel of two batches of different shapes.

    A plan is for one model of one shape. So the outputs of both batches are taken as
    one output, and the block of the first with the second as the kernel.
    """
    axes, n_first = output.axes, 1
    for axis in axes.full:
        n_first *= output.shapes[0][axis]

    def both(params: Any, inputs: Sequence[dict[str, list[Any]]]) -> jax.Array:
        return jnp.concatenate([axes.gather(output(params, side)) for side in inputs])

    def sides(leaves1: list[Any], leaves2: list[Any] | None) -> list[Any]:
        return [output.inputs(leaves1), output.inputs(leaves2 or [])]

    once = sorted([*axes.trace, *axes.diagonal])
    kernel = plan(
        both,
        params,
        sides(leaves1, leaves2),
        trace_axes=[1 + once.index(axis) for axis in axes.trace] or None,
        diagonal_axes=[1 + once.index(axis) for axis in axes.diagonal] or None,
        wrt=every_leaf,
        batch_axis=None,
        methods=output.question.methods,
    ).compile()

    def compute(
        leaves1: list[Any], leaves2: list[Any] | None, params: Any
    ) -> list[jax.Array]:
        found = kernel(params, sides(leaves1, leaves2))
        return [axes.spread(found[:n_first, n_first:], *output.shapes)]

    return compute


def _shapes(leaves: Sequence[Any]) -> list[Any]:
    return [jnp.shape(leaf) for leaf in leaves if hasattr(leaf, "shape")]


def _check_outputs(
    axes: OutputAxes, shape1: tuple[int, ...], shape2: tuple[int, ...]
) -> None:
    """Checks that both sides agree on trace and diagonal axes.

    Raises:
        MismatchedInputsError: They do not.
    """
    once = sorted([*axes.trace, *axes.diagonal])
    fits = len(shape1) == len(shape2)
    if not fits or any(shape1[axis] != shape2[axis] for axis in once):
        raise MismatchedInputsError(
            what="the shape of the output for x2",
            got=list(shape2),
            wanted=f"that for x1, {list(shape1)}, on axes {once}",
            hint="Only axes in neither trace_axes nor diagonal_axes may differ",
        )
