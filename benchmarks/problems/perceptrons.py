"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
from typing import Any

import jax

from benchmarks.problems.layers import STANDARD, Layers, relu
from benchmarks.problems.network import Network


def perceptron(
    *,
    n_in: int = 784,
    width: int = 512,
    depth: int = 3,
    n_outputs: int = 10,
    layers: Layers = STANDARD,
) -> Network:
    """Returns a network of `depth` hidden layers of `width` units."""
    sizes = [n_in, *[width] * depth, n_outputs]

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = itertools.pairwise(sizes)
        return [
            layers.dense_params(layer_key, *shape)
            for layer_key, shape in zip(keys, shapes, strict=True)
        ]

    def perceptron(params: Any, x: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = relu(layers.dense(layer, x))
        return layers.dense(params[-1], x)

    return Network(init=init, apply=perceptron, example_shape=(n_in,))
