"""Physics-informed networks: the residual of a differential equation at a point."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import dense, dense_params
from benchmarks.problems.network import Network


def laplacian(*, n_in: int = 2, width: int = 64, depth: int = 2) -> Network:
    """Returns the Laplacian, by the input, of a perceptron with one output.

    Args:
        n_in: Dimensions of space.
        width: Units of a hidden layer.
        depth: Number of hidden layers.
    """
    sizes = [n_in, *[width] * depth, 1]

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(sizes) - 1)
        return [
            dense_params(layer_key, *shape)
            for layer_key, shape in zip(keys, itertools.pairwise(sizes), strict=True)
        ]

    def solution(params: Any, point: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            point = jnp.tanh(dense(layer, point))
        return dense(params[-1], point)[0]

    def laplacian(params: Any, x: jax.Array) -> jax.Array:
        gradient = jax.grad(solution, argnums=1)

        def at(point: jax.Array) -> jax.Array:
            def second(direction: jax.Array) -> jax.Array:
                push = lambda point: gradient(params, point)  # noqa: E731
                return jax.jvp(push, (point,), (direction,))[1] @ direction

            return jnp.sum(jax.vmap(second)(jnp.eye(n_in, dtype=point.dtype)))

        return jax.vmap(at)(x)[:, None]

    return Network(init=init, apply=laplacian, example_shape=(n_in,))
