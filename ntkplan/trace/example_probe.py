"""A numerical test of whether the examples of a batch are independent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MOST_EXAMPLES = 8
_FEWEST_EXAMPLES = 3
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
            It is compiled, and must take any number of examples.
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
    compiled = jax.jit(lambda *leaves: function(*leaves))

    def outputs(batch: Sequence[Any]) -> list[np.ndarray]:
        full = list(arguments)
        for index, array in zip(data_inputs, batch, strict=True):
            full[index] = array
        with jax.default_matmul_precision("highest"):
            leaves = jax.tree_util.tree_leaves(compiled(*full))
        return [np.asarray(leaf) for leaf in leaves]

    reference = outputs(data)
    for trial in _trials(data, batch_axis):
        for one, other in zip(reference, outputs(trial.data), strict=True):
            # What has no example axis must stay as it is.
            if one.ndim > axis and one.shape[axis] == n_examples:
                one = np.take(one, trial.examples, axis=axis)
                other = np.take(other, trial.rows, axis=axis)
            if one.shape != other.shape or not _close(one, other, trial.ulps):
                return False
    return True


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A batch with some of the examples of another one.

    Attributes:
        data: The arrays.
        examples: Which examples of the other batch must give the same as there.
        rows: Where they are in this one.
        ulps: How many roundings apart.
    """

    data: list[Any]
    examples: np.ndarray
    rows: np.ndarray
    ulps: float


def _trials(data: Sequence[Any], axis: int) -> Iterator[_Trial]:
    """Yields batches with one example replaced, with all moved, with half left out."""
    n_examples = data[0].shape[axis]
    everyone = np.arange(n_examples)
    generator = np.random.default_rng(1)
    for victim, wild in zip(
        _victims(data, axis, generator), (False, True), strict=True
    ):
        others = np.delete(everyone, victim)
        yield _Trial(
            data=[
                _with_noise(array, axis, victim, generator, wild=wild) for array in data
            ],
            examples=others,
            rows=others,
            ulps=_SAME_SIZE_ULPS,
        )
    for examples, ulps in (
        (np.roll(everyone[::-1], 1), _SAME_SIZE_ULPS),
        (everyone[1::2], _OTHER_SIZE_ULPS),
    ):
        yield _Trial(
            data=[_take(array, examples, axis) for array in data],
            examples=examples,
            rows=np.arange(len(examples)),
            ulps=ulps,
        )


def _victims(
    data: Sequence[Any], axis: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Returns two examples, one with NaN or infinity first if there is any.

    What such an example spoils shows only when it is the one to be replaced.
    """
    order = generator.permutation(data[0].shape[axis])
    spoilt = np.zeros(len(order), bool)
    for array in data:
        if jnp.issubdtype(array.dtype, jnp.inexact):
            rows = np.moveaxis(np.asarray(array), axis, 0).reshape(len(order), -1)
            spoilt |= ~np.isfinite(rows).all(axis=1)
    first, second = sorted(order, key=lambda example: not spoilt[example])[:2]
    return int(first), int(second)


def _of_testable_size(data: Sequence[Any], batch_axis: int) -> list[Any]:
    """Returns at most 8 of the examples; fewer than 3 are repeated and disturbed."""
    n_examples = data[0].shape[batch_axis]
    n_used = min(max(n_examples, _FEWEST_EXAMPLES), _MOST_EXAMPLES)
    taken = np.arange(n_used) % n_examples
    used = [_take(array, taken, batch_axis) for array in data]
    generator = np.random.default_rng(0)
    for copy in range(n_examples, n_used):
        used = [
            _with_noise(array, batch_axis, copy, generator, wild=False)
            for array in used
        ]
    return used


def _take(array: Any, examples: np.ndarray, axis: int) -> Any:
    """Returns these examples; random keys have no value to fill in, hence the mode."""
    return jnp.take(array, examples, axis=axis, mode="clip")


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
        return _take(array, neighbour, axis)
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
