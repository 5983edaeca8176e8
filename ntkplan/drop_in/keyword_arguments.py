"""Keyword arguments of the model, dealt out to `x1` and `x2`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from ntkplan.errors import KeywordArgumentError

# Inputs that differ by less are the same inputs, as neural_tangents has it.
_SAME_WITHIN = 1e-12


def split_keyword_arguments(
    arguments: Mapping[str, Any], x1: Any, x2: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Deals keyword arguments out to both sides, as neural_tangents does.

    A tuple of two holds one value for each side; any other value goes to both. The
    argument `rng` is a random key: where there is an `x2`, the sides have the same key
    if `x1` and `x2` are equal, and different keys if not.

    Args:
        arguments: By name.
        x1: Examples.
        x2: Other examples, or None.

    Returns:
        The arguments of each side.

    Raises:
        KeywordArgumentError: `rng` is no random key.

    Example:
        >>> split_keyword_arguments({"scale": 2.0, "mask": ("a", "b")}, None, None)
        ({'scale': 2.0, 'mask': 'a'}, {'scale': 2.0, 'mask': 'b'})
    """
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    for name, value in arguments.items():
        if name == "rng" and x2 is not None:
            first[name], second[name] = _keys(value, x1, x2)
        elif isinstance(value, tuple) and len(value) == 2:
            first[name], second[name] = value
        else:
            first[name] = second[name] = value
    return first, second


def _keys(key: Any, x1: Any, x2: Any) -> tuple[Any, Any]:
    """Makes one key for each side, equal where the inputs are."""
    if key is None:
        return None, None
    if isinstance(key, tuple) and len(key) == 2:
        key1, key2 = key
        other = jnp.where(_same(key1, key2), jax.random.fold_in(key2, 1), key2)
        return key1, jnp.where(_same(x1, x2), key1, other)
    if not isinstance(key, jax.Array | numpy.ndarray):
        raise KeywordArgumentError(
            name="rng",
            why=f"is a {type(key).__name__}, not a random key",
            hint="Pass jax.random.key(seed), or two of them in a tuple",
        )
    return key, jnp.where(_same(x1, x2), key, jax.random.fold_in(key, 1))


def _same(one: Any, other: Any) -> Any:
    """Says whether two trees hold the same numbers; traced where they are."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    if any(jnp.shape(left) != jnp.shape(right) for left, right in pairs):
        return False
    parts = [_same_array(left, right) for left, right in pairs if left is not right]
    return jnp.all(jnp.array(parts)) if parts else True


def _same_array(left: Any, right: Any) -> jax.Array:
    inexact = all(
        jnp.issubdtype(jnp.result_type(array), jnp.inexact) for array in (left, right)
    )
    if inexact:
        return jnp.all(jnp.abs(left - right) < _SAME_WITHIN)
    return jnp.all(jnp.asarray(left == right))
