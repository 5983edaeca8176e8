"""Kernels of models whose examples are independent, `vmap_axes` says where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.api import plan
from ntkplan.drop_in.example_axes import axes_of_tree
from ntkplan.drop_in.inputs import Layout, broadcast_over_examples
from ntkplan.drop_in.output_axes import OutputAxes, read_output_axes
from ntkplan.drop_in.question import (
    KernelOfLeaves,
    Question,
    in_the_words_of_vmap_axes,
    output_paths,
    sort_leaves,
)
from ntkplan.errors import MismatchedInputsError, VmapAxesError
from ntkplan.trace.batch import check_independent


def plan_per_example(
    question: Question,
    layout: Layout,
    leaves1: list[Any],
    leaves2: list[Any] | None,
    params: Any,
    output_shapes: Any,
) -> KernelOfLeaves:
    """Plans one kernel for every output, example against example.

    Args:
        question: What is asked.
        layout: What each leaf is.
        leaves1: Leaves of the first side.
        leaves2: Leaves of the second side, or None for the first again.
        params: Parameters.
        output_shapes: The tree of shapes that the model returns for the first side.

    Returns:
        A function that computes all kernels.

    Raises:
        NtkPlanError: Something is wrong with the input.
    """
    shapes = [tuple(spec.shape) for spec in jax.tree.leaves(output_shapes)]
    out_axes = axes_of_tree("the outputs", question.axes.outputs, output_shapes)
    if leaves2 is not None:
        _check_same_examples(layout, leaves1, leaves2)
    parts = [
        _Part(question, layout, index, _needed(axis), shape)
        for index, (axis, shape) in enumerate(zip(out_axes, shapes, strict=True))
    ]
    kernels = []
    for part, path in zip(parts, output_paths(output_shapes), strict=True):
        with in_the_words_of_vmap_axes(path):
            kernels.append(part.plan(leaves1, leaves2, params).compile())

    def compute(
        leaves1: list[Any], leaves2: list[Any] | None, params: Any
    ) -> list[jax.Array]:
        results = []
        for part, kernel in zip(parts, kernels, strict=True):
            x2 = None if leaves2 is None else part.inputs(leaves2)
            found = kernel(part.params(leaves1, params), part.inputs(leaves1), x2)
            results.append(part.axes.put_examples_back(found, part.out_axis))
        return results

    return compute


class _Part:
    """One output of the model, its example axis in front, as ntkplan plans it.

    Arrays that the examples of one side share, such as a random key, are repeated for
    every example: a kernel function takes the same parameters on both sides.
    """

    def __init__(
        self,
        question: Question,
        layout: Layout,
        index: int,
        out_axis: int,
        shape: tuple[int, ...],
    ) -> None:
        self.question, self.layout = question, layout
        self.index, self.out_axis = index, out_axis
        self.axes: OutputAxes = read_output_axes(
            question.trace_axes, question.diagonal_axes, shape
        )

    def plan(self, leaves1: list[Any], leaves2: list[Any] | None, params: Any) -> Any:
        """Plans the kernel."""
        trace, diagonal = self.axes.with_examples_first(self.out_axis)
        matched = self.out_axis not in self.axes.full
        if matched and leaves2 is not None:
            _check_same_number(self.layout, leaves1, leaves2)
        own = sort_leaves(self.layout, leaves1).own
        if own:
            self._refuse_interaction(leaves1, params)
        return plan(
            self._mapped if own else self._at_once,
            self.params(leaves1, params),
            self.inputs(leaves1),
            None if leaves2 is None else self.inputs(leaves2),
            trace_axes=trace or None,
            diagonal_axes=diagonal or None,
            pairs="matched" if matched else "all",
            wrt=self._is_parameter,
            methods=self.question.methods,
        )

    def params(self, leaves: list[Any], params: Any) -> Any:
        """Returns the parameters, and what all examples of both sides share."""
        common = sort_leaves(self.layout, leaves).common
        return {"params": params, "shared": common} if common else params

    def inputs(self, leaves: list[Any]) -> dict[str, list[Any]]:
        """Returns what differs between examples or sides, examples in front."""
        found = sort_leaves(self.layout, leaves)
        axes = self.layout.example_axes
        examples = [
            jnp.moveaxis(array, axis, 0)
            for array, axis in zip(found.examples, axes, strict=True)
        ]
        n_examples = examples[0].shape[0]
        own = [broadcast_over_examples(array, n_examples) for array in found.own]
        return {"examples": examples, "own": own}

    def _is_parameter(self, path: str, leaf: Any) -> bool:
        del leaf
        if not self._has_common:
            return True
        return path == "params" or path.startswith("params/")

    @functools.cached_property
    def _has_common(self) -> bool:
        return bool(sort_leaves(self.layout, self.layout.roles).common)

    def _at_once(self, params: Any, inputs: dict[str, list[Any]]) -> jax.Array:
        """Is the model of a batch, where no side has anything to itself."""
        return self._output(params, inputs["examples"], [])

    def _mapped(self, params: Any, inputs: dict[str, list[Any]]) -> jax.Array:
        """Is the model of one example with what belongs to its side, mapped."""

        def of_one(examples: list[Any], own: list[Any]) -> jax.Array:
            return self._output(params, [array[None] for array in examples], own)[0]

        return jax.vmap(of_one)(inputs["examples"], inputs["own"])

    def _output(
        self, params: Any, examples: Sequence[Any], own: Sequence[Any]
    ) -> jax.Array:
        """Runs the model; examples come first in what goes in and comes out."""
        common = []
        if self._has_common:
            params, common = params["params"], params["shared"]
        outputs = self.question.outputs(
            self.layout,
            params,
            examples=[
                jnp.moveaxis(array, 0, axis)
                for array, axis in zip(examples, self.layout.example_axes, strict=True)
            ],
            common=common,
            own=own,
        )
        return jnp.moveaxis(outputs[self.index], self.out_axis, 0)

    def _refuse_interaction(self, leaves: list[Any], params: Any) -> None:
        """Looks for interaction where mapping over the examples would hide it."""
        fixed = (self.params(leaves, params), sort_leaves(self.layout, leaves).own)
        examples = self.inputs(leaves)["examples"]
        check_independent(
            lambda fixed, examples: self._output(fixed[0], examples, fixed[1]),
            fixed,
            examples,
            0,
            stacklevel=6,
        )


def _needed(axis: int | None) -> int:
    if axis is None:
        raise VmapAxesError(
            what="vmap_axes say where the examples are in what f is given, and not in "
            "what it returns",
            hint="Give the example axis of the outputs, as the second part of a triple",
        )
    return axis


def _check_same_examples(
    layout: Layout, leaves1: Sequence[Any], leaves2: Sequence[Any]
) -> None:
    """Checks that an example of x2 looks like one of x1."""
    for leaf1, leaf2, axis in zip(leaves1, leaves2, layout.axes, strict=True):
        shapes = [list(jnp.shape(leaf)) for leaf in (leaf1, leaf2) if axis is not None]
        for shape in shapes:
            shape[axis or 0] = 0
        if shapes and shapes[0] != shapes[1]:
            raise MismatchedInputsError(
                what="the shape of x2 or of a keyword argument, examples left out",
                got=[*jnp.shape(leaf2)],
                wanted=[*jnp.shape(leaf1)],
                hint="Pass examples of one shape, or vmap_axes=None for the kernel of "
                "the batches as wholes",
            )


def _check_same_number(
    layout: Layout, leaves1: Sequence[Any], leaves2: Sequence[Any]
) -> None:
    """Checks that every example of x1 has one of x2 to go with."""
    counts = [
        jnp.shape(sort_leaves(layout, leaves).examples[0])[layout.example_axes[0]]
        for leaves in (leaves1, leaves2)
    ]
    if counts[0] != counts[1]:
        raise MismatchedInputsError(
            what="the number of examples in x2, whose axis is in trace_axes or "
            "diagonal_axes",
            got=counts[1],
            wanted=counts[0],
            hint="Pass as many examples in x2 as in x1, or leave that axis out",
        )
