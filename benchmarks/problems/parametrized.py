"""Layers as the theory of neural tangent kernels parametrizes them.

Weights have variance one and are divided by the root of how many inputs meet in a unit;
so are the layers of `neural_tangents.stax` by default.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from benchmarks.problems.layers import Layers, Params, convolve

_BIAS_SCALE = 0.1


def _dense_params(key: jax.Array, n_in: int, n_out: int) -> Params:
    return _drawn(key, n_in, n_out)


def _dense(params: Params, x: jax.Array) -> jax.Array:
    return _scaled(params, x @ params["weight"])


def _convolution_params(key: jax.Array, size: int, n_in: int, n_out: int) -> Params:
    return _drawn(key, size, size, n_in, n_out)


def _convolve(params: Params, x: jax.Array) -> jax.Array:
    return _scaled(params, convolve({"weight": params["weight"]}, x))


PARAMETRIZED = Layers(
    dense_params=_dense_params,
    dense=_dense,
    convolution_params=_convolution_params,
    convolve=_convolve,
)


def _drawn(key: jax.Array, *shape: int) -> Params:
    """Returns a weight and a bias, all of variance one."""
    own, other = jax.random.split(key)
    return {
        "weight": jax.random.normal(own, shape, jnp.float32),
        "bias": jax.random.normal(other, shape[-1:], jnp.float32),
    }


def _scaled(params: Params, products: jax.Array) -> jax.Array:
    """Scales what a weight makes of its input, and adds the bias."""
    n_met = math.prod(params["weight"].shape[:-1])
    return math.sqrt(2.0 / n_met) * products + _BIAS_SCALE * params["bias"]
