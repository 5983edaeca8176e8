"""What is asked of a model, and what it answers in shapes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from ntkplan.drop_in.example_axes import ExampleAxes
from ntkplan.drop_in.inputs import Layout, Role, Side, is_static
from ntkplan.drop_in.output_axes import Axes
from ntkplan.errors import (
    ComplexLeafError,
    InteractingExamplesError,
    NonFloatLeafError,
    NtkPlanError,
)

# The kernels of all outputs, from the leaves of each side (the second may be None) and
# the parameters.
KernelOfLeaves = Callable[[list[Any], list[Any] | None, Any], list[jax.Array]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What `empirical_ntk_fn` was given.

    Attributes:
        f: The model, `f(params, x, **keywords)`.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes that stand once.
        axes: Where the examples are.
        methods: As for `ntkplan.plan`.
    """

    f: Callable[..., Any]
    trace_axes: Axes
    diagonal_axes: Axes
    axes: ExampleAxes
    methods: str | None

    def outputs(
        self,
        layout: Layout,
        params: Any,
        *,
        examples: Sequence[Any],
        common: Sequence[Any],
        own: Sequence[Any],
    ) -> list[Any]:
        """Returns all outputs of the model, as a list."""
        x, keywords = layout.join(examples=examples, common=common, own=own)
        return jax.tree.leaves(self.f(params, x, **keywords))

    def output_shapes(self, side: Side, params: Any) -> Any:
        """Returns the tree of shapes that the model returns for one side."""
        leaves, structure = jax.tree.flatten((side.x, dict(side.keywords)))
        traced = [leaf for leaf in leaves if not is_static(leaf)]

        def of_arrays(params: Any, arrays: Sequence[Any]) -> Any:
            rest = iter(arrays)
            every = [leaf if is_static(leaf) else next(rest) for leaf in leaves]
            x, keywords = jax.tree.unflatten(structure, every)
            return self.f(params, x, **keywords)

        return jax.eval_shape(of_arrays, params, traced)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sorted:
    """The leaves of one side by their roles.

    Attributes:
        examples: Arrays with an example axis, wherever it is.
        common: Arrays that both sides share.
        own: Arrays that the examples of this side share.
    """

    examples: list[Any]
    common: list[Any]
    own: list[Any]


def sort_leaves(layout: Layout, leaves: Sequence[Any]) -> Sorted:
    """Sorts the leaves of one side."""
    return Sorted(
        examples=layout.take(leaves, Role.EXAMPLES),
        common=layout.take(leaves, Role.COMMON),
        own=layout.take(leaves, Role.OWN),
    )


def every_leaf(path: str, leaf: Any) -> bool:
    """Is the `wrt=` of neural_tangents: all of `params` is differentiated by."""
    del path, leaf
    return True


@contextlib.contextmanager
def in_the_words_of_vmap_axes(output: str) -> Iterator[None]:
    """Adds to errors of `ntkplan.plan` what its options are called here.

    Args:
        output: Where the output that is planned stands in the tree that the model
            returns, as `['head']`; empty for an array alone.
    """
    try:
        yield
    except NtkPlanError as error:
        if isinstance(error, InteractingExamplesError):
            error.add_note("In empirical_ntk_fn, batch_axis=None is vmap_axes=None.")
        if isinstance(error, NonFloatLeafError | ComplexLeafError):
            error.add_note(
                "empirical_ntk_fn has no wrt=: use ntkplan.plan, or close over the "
                "leaf."
            )
        if output:
            error.add_note(f"This is about the output {output} of f.")
        raise


def output_paths(shapes: Any) -> list[str]:
    """Returns where each output stands in the tree that the model returns.

    Example:
        >>> output_paths({"head": 1, "hidden": 2})
        ["['head']", "['hidden']"]
    """
    keys_and_leaves = jax.tree_util.tree_leaves_with_path(shapes)
    return [jax.tree_util.keystr(keys) for keys, _ in keys_and_leaves]
