"""`empirical_ntk_fn`, with the signature and the results of neural_tangents'."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan.drop_in.example_axes import read_vmap_axes
from ntkplan.drop_in.implementation import NtkImplementation, methods_of
from ntkplan.drop_in.inputs import Layout, Side, is_static, sort_inputs
from ntkplan.drop_in.keyword_arguments import split_keyword_arguments
from ntkplan.drop_in.output_axes import Axes
from ntkplan.drop_in.per_example import plan_per_example
from ntkplan.drop_in.question import KernelOfLeaves, Question
from ntkplan.drop_in.whole_batch import plan_whole_batch
from ntkplan.errors import KeywordArgumentError, MismatchedInputsError


def empirical_ntk_fn(
    f: Callable[..., Any],
    trace_axes: Axes = (-1,),
    diagonal_axes: Axes = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation
    | int
    | str = NtkImplementation.JACOBIAN_CONTRACTION,
) -> Callable[..., Any]:
    """Returns a function that computes the empirical neural tangent kernel of a model.

    It is called and returns what `neural_tangents.empirical_ntk_fn` 0.6.5 is called and
    returns. The kernel has the axes of the output in pairs, `zip(f(x1).shape,
    f(x2).shape)`, except that the axes in `trace_axes` are averaged over and those in
    `diagonal_axes` stand once. Where the model returns a tree, so does the kernel: each
    output with itself.

    The first call with new shapes plans and compiles; later calls of these shapes run.
    Like `jax.jit`, it is then that `f` is read: what it closes over is not looked at
    again.

    Args:
        f: The model, `f(params, x, **keywords)`, which returns an array or a tree of
            arrays. Parameters are real floating-point arrays.
        trace_axes: Output axes to average over, both members of the pair equal. They
            count the example axis.
        diagonal_axes: Output axes of which only the diagonal is wanted.
        vmap_axes: The example axis of inputs and outputs; a tree of axes; or a triple
            `(x, outputs, keywords)`, the last a dictionary from the names of keyword
            arguments with examples to their axes. It says that examples are
            independent, which is checked. None where they interact, or where there are
            none: then the batch is differentiated as a whole, at many times the cost.
        implementation: Which methods are used, by name or number; `auto` takes the
            cheapest for every leaf. The kernel is the same.

    Returns:
        `ntk_fn(x1, x2, params, **keywords)`. `x2=None` is `x1` again. A keyword
        argument that is a tuple of two is one value for each side; `rng` is a random
        key, of which `x2` gets another unless it equals `x1`; strings and flags are
        passed as they are.

    Raises:
        UnknownOptionError: There is no such implementation.
        VmapAxesError: `vmap_axes` are none.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda params, x: jnp.tanh(x @ params["w"]) @ params["v"]
        >>> params = {"w": jnp.ones((3, 5)), "v": jnp.ones((5, 2))}
        >>> ntk_fn = empirical_ntk_fn(f, vmap_axes=0, implementation="auto")
        >>> ntk_fn(jnp.ones((4, 3)), None, params).shape
        (4, 4)
    """
    question = Question(
        f=f,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        axes=read_vmap_axes(vmap_axes),
        methods=methods_of(implementation),
    )
    planned: dict[Hashable, tuple[Any, KernelOfLeaves]] = {}

    def ntk_fn(x1: Any, x2: Any, params: Any, **apply_fn_kwargs: Any) -> Any:
        """Computes the kernel.

        Args:
            x1: Examples, an array or a tree of arrays.
            x2: Other examples, or None for `x1` again.
            params: Parameters.
            **apply_fn_kwargs: Keyword arguments of the model, see above.

        Returns:
            The kernel, or a tree of kernels.

        Raises:
            NtkPlanError: Something is wrong with the input.
        """
        x2 = x2 if jax.tree.leaves(x2) else None
        keywords1, keywords2 = split_keyword_arguments(apply_fn_kwargs, x1, x2)
        side1 = Side(x=x1, keywords=keywords1)
        side2 = None if x2 is None else Side(x=x2, keywords=keywords2)
        layout = _common_layout(question, side1, side2)
        leaves1 = side1.leaves
        leaves2 = None if side2 is None else side2.leaves
        key = (layout, _signature(leaves1), _signature(leaves2), _signature(params))
        if key not in planned:
            planned[key] = _plan(question, layout, side1, side2, params)
        structure, kernels = planned[key]
        return jax.tree.unflatten(structure, kernels(leaves1, leaves2, params))

    return ntk_fn


def _plan(
    question: Question, layout: Layout, side1: Side, side2: Side | None, params: Any
) -> tuple[Any, KernelOfLeaves]:
    """Plans the kernels of all outputs; returns them with the outputs' structure."""
    shapes1 = question.output_shapes(side1, params)
    leaves2 = None if side2 is None else side2.leaves
    if layout.example_axes:
        kernels = plan_per_example(
            question, layout, side1.leaves, leaves2, params, shapes1
        )
    else:
        shapes2 = shapes1 if side2 is None else question.output_shapes(side2, params)
        kernels = plan_whole_batch(
            question, layout, side1.leaves, leaves2, params, (shapes1, shapes2)
        )
    return jax.tree.structure(shapes1), kernels


def _common_layout(question: Question, side1: Side, side2: Side | None) -> Layout:
    """Sorts the leaves of both sides, which must come out alike."""
    layout = sort_inputs(side1, side2, question.axes)
    if side2 is None:
        return layout
    other = sort_inputs(side2, side1, question.axes)
    if other.static != layout.static:
        raise KeywordArgumentError(
            name="of a string or a flag",
            why=f"is {[value for _, value in other.static]} for x2 and "
            f"{[value for _, value in layout.static]} for x1",
            hint="Pass both sides the same, or arrays",
        )
    if other != layout:
        raise MismatchedInputsError(
            what="the tree of x2 and its keyword arguments",
            got=other.structure,
            wanted=layout.structure,
            hint="Pass both sides trees of the same structure",
        )
    return layout


def _signature(tree: Any) -> Hashable:
    """Returns structure, shapes and dtypes of a tree, to tell plans apart."""
    leaves: Sequence[Any]
    leaves, structure = jax.tree.flatten(tree)
    shapes = tuple(
        None if is_static(leaf) else (jnp.shape(leaf), jnp.result_type(leaf))
        for leaf in leaves
    )
    return structure, shapes
