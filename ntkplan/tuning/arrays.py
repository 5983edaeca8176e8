"""Arrays to time programs with: of the right shapes, and safe to compute with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from ntkplan._jax import is_traced

_BLOCK = 1 << 18


def normal_array(shape: Sequence[int], dtype: Any, scale: float = 1.0) -> jax.Array:
    """Returns random numbers; a large array repeats a smaller one.

    Args:
        shape: Of the array.
        dtype: A floating-point type.
        scale: Standard deviation.

    Example:
        >>> normal_array((2, 3), "float32").shape
        (2, 3)
    """
    count = min(math.prod(shape), _BLOCK)
    block = numpy.random.default_rng(0).standard_normal(count, dtype="float32")
    return jnp.asarray(numpy.resize(scale * block, tuple(shape)), dtype)


def index_array(shape: Sequence[int], dtype: Any, size: int) -> jax.Array:
    """Returns random indices below `size`."""
    drawn = numpy.random.default_rng(0).integers(0, size, tuple(shape))
    return jnp.asarray(drawn, dtype)


def stand_in(value: Any) -> Any:
    """Returns an array to time a model with.

    A concrete array stands for itself. In place of a shape come random numbers; where
    they are integers, of which a model may make anything, zeros.
    """
    if not isinstance(value, jax.ShapeDtypeStruct) and not is_traced(value):
        return value
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), value.shape)
    if jnp.issubdtype(value.dtype, jnp.floating):
        return normal_array(value.shape, value.dtype, scale=0.1)
    return jnp.zeros(value.shape, value.dtype)


def with_examples(tree: Any, batch_axis: int | None, count: int) -> Any:
    """Returns examples, so many of them: the first ones, or all of them repeatedly."""
    if batch_axis is None:
        return tree

    def resized(array: Any) -> Any:
        if array.shape[batch_axis] == count:
            return array
        chosen = numpy.arange(count) % array.shape[batch_axis]
        return jnp.take(array, chosen, axis=batch_axis)

    return jax.tree.map(resized, tree)
