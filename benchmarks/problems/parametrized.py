"""Networks as the theory of neural tangent kernels parametrizes them.

Weights have variance one and are divided by the root of how many inputs meet in a unit;
so are the layers of `neural_tangents.stax` by default.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import Params, convolve, relu
from benchmarks.problems.network import Network

_BIAS_SCALE = 0.1


def parametrized_perceptron(
    *, n_in: int = 784, width: int = 512, depth: int = 3, n_outputs: int = 10
) -> Network:
    """Returns a network of `depth` hidden layers of `width` units."""
    sizes = [n_in, *[width] * depth, n_outputs]

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = itertools.pairwise(sizes)
        return [_drawn(key, *shape) for key, shape in zip(keys, shapes, strict=True)]

    def parametrized_perceptron(params: Any, x: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = relu(_dense(layer, x))
        return _dense(params[-1], x)

    return Network(init=init, apply=parametrized_perceptron, example_shape=(n_in,))


def parametrized_convolutional(
    *, channels: int = 32, depth: int = 3, side: int = 16, n_outputs: int = 10
) -> Network:
    """Returns `depth` convolutions and a dense head on all positions."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, depth + 1)
        widths = [3, *[channels] * depth]
        return {
            "convolutions": [
                _drawn(keys[number], 3, 3, *shape)
                for number, shape in enumerate(itertools.pairwise(widths))
            ],
            "head": _drawn(keys[-1], side * side * channels, n_outputs),
        }

    def parametrized_convolutional(params: Any, x: jax.Array) -> jax.Array:
        for layer in params["convolutions"]:
            x = relu(_scaled(layer, convolve({"weight": layer["weight"]}, x)))
        return _dense(params["head"], x.reshape(x.shape[0], -1))

    shape = (side, side, 3)
    return Network(init=init, apply=parametrized_convolutional, example_shape=shape)


def _drawn(key: jax.Array, *shape: int) -> Params:
    """Returns a weight and a bias, all of variance one."""
    own, other = jax.random.split(key)
    return {
        "weight": jax.random.normal(own, shape, jnp.float32),
        "bias": jax.random.normal(other, shape[-1:], jnp.float32),
    }


def _dense(params: Params, x: jax.Array) -> jax.Array:
    return _scaled(params, x @ params["weight"])


def _scaled(params: Params, products: jax.Array) -> jax.Array:
    """Scales what a weight makes of its input, and adds the bias."""
    n_met = math.prod(params["weight"].shape[:-1])
    return math.sqrt(2.0 / n_met) * products + _BIAS_SCALE * params["bias"]
