"""A numerical test of whether the examples of a batch are independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MOST_EXAMPLES = 8
_FEWEST_EXAMPLES = 3
_SEEDS = (1, 2)
# Rounding errors that a network may pile up, in units of the output's precision.
# Batches of another size are computed in another order.
_SAME_SIZE_ULPS = 2.0**9
_OTHER_SIZE_ULPS = 2.0**12


def probe_independence(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    batch_axis: int = 0,
    *,
    data_inputs: Sequence[int],
    output_axis: int | None = None,
) -> bool:
    """Tests on given arrays whether each output belongs to one example alone.

    At most 8 of the examples are used. One is replaced by noise, the examples are put
    into another order, and some are left out: the outputs of the others must stay
    what they were, but for rounding. Deterministic.

    Args:
        function: Takes `arguments`, returns a pytree of arrays with an example axis.
        arguments: Arrays.
        batch_axis: Of the arguments that hold examples.
        data_inputs: Which of the arguments hold examples.
        output_axis: The example axis of every output; `batch_axis` unless given.

    Returns:
        False where an output changed with the other examples.
    """
    axis = batch_axis if output_axis is None else output_axis
    given = [jnp.asarray(arguments[index]) for index in data_inputs]
    data = _of_testable_size(given, batch_axis)
    n_examples = data[0].shape[batch_axis]

    def outputs(batch: Sequence[Any]) -> list[np.ndarray]:
        full = list(arguments)
        for index, array in zip(data_inputs, batch, strict=True):
            full[index] = array
        with jax.default_matmul_precision("highest"):
            leaves = jax.tree_util.tree_leaves(function(*full))
        return [np.asarray(leaf) for leaf in leaves]

    def chosen(examples: np.ndarray) -> list[Any]:
        return [jnp.take(array, examples, axis=batch_axis) for array in data]

    def agree(
        after: Sequence[np.ndarray], rows: np.ndarray, new_rows: np.ndarray, ulps: float
    ) -> bool:
        for one, other in zip(reference, after, strict=True):
            # What has no example axis must stay as it is.
            if one.ndim > axis and one.shape[axis] == n_examples:
                one = np.take(one, rows, axis=axis)
                other = np.take(other, new_rows, axis=axis)
            if one.shape != other.shape or not _close(one, other, ulps):
                return False
        return True

    reference = outputs(data)
    everyone = np.arange(n_examples)
    for seed in _SEEDS:
        generator = np.random.default_rng(seed)
        victim = int(generator.integers(n_examples))
        others = np.delete(everyone, victim)
        changed = [
            _with_noise(array, batch_axis, victim, generator, wild=seed == _SEEDS[-1])
            for array in data
        ]
        after = outputs(changed)
        if not agree(after, others, others, _SAME_SIZE_ULPS):
            return False
    order = np.roll(everyone[::-1], 1)
    after = outputs(chosen(order))
    if not agree(after, order, everyone, _SAME_SIZE_ULPS):
        return False
    kept = everyone[1::2]
    after = outputs(chosen(kept))
    return agree(after, kept, np.arange(len(kept)), _OTHER_SIZE_ULPS)


def _of_testable_size(data: Sequence[Any], batch_axis: int) -> list[Any]:
    """Returns at most 8 of the examples; fewer than 3 are repeated and disturbed."""
    n_examples = data[0].shape[batch_axis]
    n_used = min(max(n_examples, _FEWEST_EXAMPLES), _MOST_EXAMPLES)
    taken = np.arange(n_used) % n_examples
    used = [jnp.take(array, taken, axis=batch_axis) for array in data]
    generator = np.random.default_rng(0)
    for copy in range(n_examples, n_used):
        used = [
            _with_noise(array, batch_axis, copy, generator, wild=False)
            for array in used
        ]
    return used


def _with_noise(
    array: Any, axis: int, example: int, generator: np.random.Generator, *, wild: bool
) -> Any:
    """Returns the array with one example replaced.

    Floating-point numbers are replaced by normal ones of the array's spread, ten times
    that if `wild`; others by those of the next example in a random order, since not
    every integer may be a valid one.
    """
    n_examples = array.shape[axis]
    if not jnp.issubdtype(array.dtype, jnp.number) and array.dtype != jnp.bool_:
        neighbour = np.arange(n_examples)
        neighbour[example] = (example + 1) % n_examples
        return jnp.take(array, neighbour, axis=axis)
    values = np.moveaxis(np.array(array), axis, 0)
    if jnp.issubdtype(array.dtype, jnp.inexact):
        spread = float(np.nanstd(np.abs(values.astype(np.complex128)))) or 1.0
        spread = (spread if np.isfinite(spread) else 1.0) * (10.0 if wild else 1.0)
        noise = generator.normal(size=values.shape[1:]) * spread
        values[example] = noise.astype(values.dtype)
    else:
        neighbour = values[(example + 1) % n_examples]
        values[example] = generator.permutation(neighbour.ravel()).reshape(
            neighbour.shape
        )
    return jnp.asarray(np.moveaxis(values, 0, axis))


def _close(left: np.ndarray, right: np.ndarray, ulps: float) -> bool:
    """Compares to a number of roundings of the largest entry; NaN equals NaN."""
    if not jnp.issubdtype(left.dtype, jnp.inexact):
        return bool(np.array_equal(left, right))
    precision = float(jnp.finfo(left.dtype).eps)
    wide = np.complex128 if np.iscomplexobj(left) else np.float64
    left, right = left.astype(wide), right.astype(wide)
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return False
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return False
    if not finite.any():
        return True
    largest = float(np.max(np.abs(left[finite])))
    error = float(np.max(np.abs(left[finite] - right[finite])))
    return error <= ulps * precision * largest
