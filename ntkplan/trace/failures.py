"""What is said where the user's model fails while it is traced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

from ntkplan.errors import NtkPlanError, TracingError

_VALUES = (
    "ntkplan traces f: what params and x hold is not known then. Write a Python `if` "
    "on them as jnp.where or jax.lax.cond, and close over flags and sizes"
)
_ONE_EXAMPLE = (
    "ntkplan traces f with one example at a time: f is given an example axis of length "
    "one. Check that x has the shape that f takes, that batch_axis= names the axis "
    "which counts examples, and that params fit; a squeeze without axis= takes an axis "
    "of length one away"
)
_BATCH = "Check that f(params, x) can be evaluated with arrays of these shapes"

_UNKNOWN_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@contextlib.contextmanager
def explained(x: Any, batch_axis: int | None) -> Iterator[None]:
    """Says of an exception in the user's model what it was traced with.

    Args:
        x: The examples' shapes.
        batch_axis: Their example axis, or None.

    Raises:
        TracingError: In place of any other exception, which is its cause.
    """
    try:
        yield
    except NtkPlanError:
        raise
    except Exception as error:
        leaves = jax.tree.leaves(x)
        alone = batch_axis is not None and all(
            leaf.shape[batch_axis] == 1 for leaf in leaves
        )
        hint = _ONE_EXAMPLE if alone else _BATCH
        if isinstance(error, _UNKNOWN_VALUE):
            hint = _VALUES
        raise TracingError(
            error=error, given=_shapes(x), batch_axis=batch_axis, hint=hint
        ) from error


def _shapes(x: Any) -> str:
    """Lists the shapes of the examples, as `float32[1, 8]`."""
    listed = [
        f"{jax.tree_util.keystr(keys)} {leaf.dtype}{list(leaf.shape)}".strip()
        for keys, leaf in jax.tree_util.tree_leaves_with_path(x)
    ]
    return ", ".join(listed)
