"""What a model is to the tests: a name and how to build it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracles import path_name

Problem = tuple[Callable[..., Any], Any, Any, Any]

N1, N2 = 3, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A small model with examples.

    Attributes:
        name: `library_model`, unique.
        build: From a random key to `f, params, x1, x2`, with `N1` and `N2` examples
            and float32 leaves.
        idle: Globs of the leaves that the outputs do not depend on (the bias of the
            keys of an attention, for one).
        forward_mode: Whether JAX can push tangents forward through the model.
        heavy: Whether it takes seconds to compile.
        float64_tolerance: How far a float64 kernel may be off; more than the default
            where a library computes a part in float32 all the same.
    """

    name: str
    build: Callable[[jax.Array], Problem]
    idle: tuple[str, ...] = ()
    forward_mode: bool = True
    heavy: bool = False
    float64_tolerance: float = 1e-12


def generator(key: jax.Array) -> np.random.Generator:
    """Returns numpy's generator for a key, as it compiles nothing."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def normal_examples(key: jax.Array, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `x1` and `x2`, standard normal, of examples of the given shape."""
    values = generator(key).normal(size=(N1 + N2, *shape)).astype(np.float32)
    return values[:N1], values[N1:]


def token_examples(
    key: jax.Array, n_tokens: int, *shape: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `x1` and `x2` of integers below `n_tokens`."""
    values = generator(key).integers(n_tokens, size=(N1 + N2, *shape), dtype=np.int32)
    return values[:N1], values[N1:]


def weight(rng: np.random.Generator, shape: Sequence[int], centre: float) -> jax.Array:
    """Returns a leaf that keeps activations near one; vectors are around `centre`.

    Nothing is zero or one, biases and scales included, so that no term of a
    derivative drops out by accident.
    """
    if max(shape, default=1) < np.prod(shape):
        value = rng.normal(size=shape) * np.sqrt(1.5 / np.prod(shape[:-1]))
    else:
        value = centre + rng.uniform(-0.5, 0.5, size=shape)
    return jnp.asarray(value, jnp.float32)


def normal_params(key: jax.Array, **shapes: tuple[int, ...]) -> dict[str, jax.Array]:
    """Returns weights of the given shapes; scales, `g...`, are near one."""
    rng = generator(key)
    return {
        name: weight(rng, shape, centre=1.0 if name.startswith("g") else 0.0)
        for name, shape in shapes.items()
    }


def fill(key: jax.Array, shapes: Any) -> Any:
    """Returns values for the float32 leaves of what a library's `init` would make.

    Leaves of a normalisation, running variances among them, are near one. What is
    not a float32 array, integers and functions among it, is zero or stays.
    """
    rng = generator(key)

    def value(path: Any, leaf: Any) -> Any:
        if not hasattr(leaf, "dtype"):
            return leaf
        if leaf.dtype != jnp.float32:
            return jnp.zeros(leaf.shape, leaf.dtype)
        centre = 1.0 if "norm" in path_name(path).lower() else 0.0
        return weight(rng, leaf.shape, centre)

    return jax.tree_util.tree_map_with_path(value, shapes)


def in_dtype_of(params: Any, tree: Any) -> Any:
    """Returns a tree (running statistics, say) in the dtype that params have."""
    dtype = jax.tree.leaves(params)[0].dtype

    def cast(leaf: Any) -> Any:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast, tree)
