"""Whether what a model returns for a batch is what it returns for each example."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from ntkplan._jax import (
    Literal,
    Primitive,
    array_dtype,
    is_traced,
    primitives,
    sub_jaxprs,
)
from ntkplan.errors import InteractingExamplesError, OutputError
from ntkplan.ir.equation import Atom, Body, Equation
from ntkplan.trace.build import output_arrays, trace_body
from ntkplan.trace.examples import Independent, check_examples, equation_text

# How many examples the batch has in which the example axis is followed: a prime that
# hardly any other axis of a model is a multiple of.
_BATCH_TO_FOLLOW = 1009

# Types that tell the number of examples from the round numbers next to it.
_EXACT_ENOUGH = (jnp.dtype("float32"), jnp.dtype("float64"))


def check_independent(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    batch_axis: int,
    *,
    single: Body | None = None,
    stacklevel: int = 2,
) -> None:
    """Refuses models whose examples interact; tests numerically what is unproven.

    Args:
        f: The model, `f(params, x)`.
        params: Arrays, or shapes, with which nothing can be tested.
        x: Likewise.
        batch_axis: The example axis of every array of `x`.
        single: The model traced with one example, to be compared with a batch.
        stacklevel: Of a warning, as for `warnings.warn`.

    Raises:
        InteractingExamplesError: The examples were proven or found to interact.
        OutputError: An output has no example axis of its own, in front.
    """
    if batch_axis < 0:
        f, x, batch_axis = _from_the_front(f, x, batch_axis)
    body, output = trace_body(
        f, params, x, batch_axis=batch_axis, length=_BATCH_TO_FOLLOW
    )
    outputs = output_arrays(output)
    for path, spec in outputs.items():
        if not spec.shape or spec.shape[0] != _BATCH_TO_FOLLOW:
            raise OutputError(
                path=path,
                why=f"for {_BATCH_TO_FOLLOW} examples f returns the shape "
                f"{list(spec.shape)}, whose first axis does not count examples",
                hint="return the example axis first",
            )
    leaves, structure = jax.tree.flatten((params, x))
    n_params = len(jax.tree.leaves(params))
    concrete = not any(
        isinstance(item, jax.ShapeDtypeStruct) or is_traced(item) for item in leaves
    )

    def flat(*arrays: Any) -> Any:
        return f(*jax.tree.unflatten(structure, arrays))

    verdict = check_examples(
        body,
        data_inputs=range(n_params, len(leaves)),
        batch_axis=batch_axis,
        n_examples=_BATCH_TO_FOLLOW,
        function=flat if concrete else None,
        arguments=leaves if concrete else None,
        stacklevel=stacklevel + 1,
    )
    counting = _reads_the_count(body)
    if counting is not None:
        raise InteractingExamplesError(
            equation=equation_text(counting),
            primitive=counting.primitive.name,
            source=counting.source,
            why="it computes with the number of examples",
        )
    if concrete and single is not None and _differ(single, body):
        _compare_with_single(f, params, x, batch_axis)
    if isinstance(verdict, Independent):
        _check_first_axes(outputs, verdict)


def _check_first_axes(outputs: Iterable[str], verdict: Independent) -> None:
    """Refuses outputs, given by their paths, whose first axis is not the examples'."""
    for number, path in enumerate(outputs):
        merged = number in verdict.merged_outputs
        if merged or verdict.output_axes[number] not in (0, None):
            raise OutputError(
                path=path,
                why="the first axis of what f returns does not count examples alone",
                hint="return the example axis first, on its own",
            )


# What JAX does more or less of where an axis has length one.
_PLACING = frozenset(
    {
        primitives.broadcast_in_dim_p,
        primitives.convert_element_type_p,
        primitives.copy_p,
        primitives.iota_p,
        primitives.reshape_p,
        primitives.squeeze_p,
        primitives.transpose_p,
    }
)


def _differ(single: Body, batch: Body) -> bool:
    """Says whether a model does something else for a batch than for one example."""

    def counted(body: Body) -> Counter[Primitive]:
        found = (equation.primitive for equation in body.equations)
        return Counter(item for item in found if item not in _PLACING)

    return counted(single) != counted(batch)


_COMPARED = 3
"""Examples whose outputs in the batch are compared with those alone."""


def _compare_with_single(
    f: Callable[..., Any], params: Any, x: Any, batch_axis: int
) -> None:
    """Evaluates the model on the batch and on some of its examples alone.

    Raises:
        OutputError: They differ. The model is traced with one example.
    """
    together = jax.tree.leaves(f(params, x))
    n_examples = jax.tree.leaves(x)[0].shape[batch_axis]
    for number in range(min(n_examples, _COMPARED)):
        alone = jax.tree.leaves(
            f(
                params,
                jax.tree.map(
                    lambda array, at=number: jnp.take(
                        array, jnp.asarray([at]), axis=batch_axis
                    ),
                    x,
                ),
            )
        )
        for batch, one in zip(together, alone, strict=True):
            tolerance = 100 * float(jnp.finfo(batch.dtype).eps) ** 0.75
            scale = jnp.maximum(jnp.abs(batch[number]).max(), 1e-30)
            if jnp.abs(batch[number] - one[0]).max() > tolerance * scale:
                raise OutputError(
                    why=f"f returns something else for {n_examples} examples than for "
                    "one example at a time",
                    hint="make what f computes independent of x.shape, or pass "
                    "batch_axis=None",
                )


def _reads_the_count(body: Body) -> Equation | None:
    """Returns an equation that computes with the number of examples, if one does.

    Shapes hold the number all the time, but floating-point numbers do not: those that
    are this prime, or its inverse or root, were made of it by `x.shape[0]`.
    """
    for equation in body.equations:
        if any(_is_made_of_count(atom) for atom in equation.inputs) or any(
            _is_made_of_count(atom)
            for _, inner in sub_jaxprs(equation.parameters)
            for nested in inner.jaxpr.eqns
            for atom in nested.invars
        ):
            return equation
    return None


def _is_made_of_count(atom: Atom) -> bool:
    if not isinstance(atom, Literal) or array_dtype(atom) not in _EXACT_ENOUGH:
        return False
    rounding = 2 * float(jnp.finfo(array_dtype(atom)).eps)
    value = float(atom.val)
    return any(
        math.isclose(value, _BATCH_TO_FOLLOW**power, rel_tol=rounding)
        for power in (1.0, -1.0, 0.5, -0.5)
    )


def _from_the_front(
    f: Callable[..., Any], x: Any, batch_axis: int
) -> tuple[Callable[..., Any], Any, int]:
    """Brings an axis that is counted from the end to the front of every array.

    Counted from the front it is another one in arrays of another rank.
    """

    def moved_back(params: Any, x: Any) -> Any:
        return f(params, jax.tree.map(lambda a: jnp.moveaxis(a, 0, batch_axis), x))

    def to_front(array: Any) -> Any:
        if isinstance(array, jax.ShapeDtypeStruct):
            return jax.eval_shape(lambda a: jnp.moveaxis(a, batch_axis, 0), array)
        return jnp.moveaxis(jnp.asarray(array), batch_axis, 0)

    return moved_back, jax.tree.map(to_front, x), 0
