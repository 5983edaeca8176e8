"""ResNet-18 in plain JAX, its whole topology at a small width."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from tests.case import Case, Problem, normal_examples, normal_params
from tests.models.convolutional import convolve

STAGES = (2, 2, 2, 2)
WIDTH = 4
N_GROUPS = 2


def resnet18_params(key: jax.Array, n_channels: int, n_outputs: int):
    """Returns 17 convolutions, 3 projections, their norms and the head."""

    def convolution(size, n_in, n_out):
        nonlocal key
        key, leaf_key = jax.random.split(key)
        return normal_params(
            leaf_key, w=(size, size, n_in, n_out), g=(n_out,), b=(n_out,)
        )

    params = {"stem": convolution(3, n_channels, WIDTH)}
    n_in = WIDTH
    for stage, n_blocks in enumerate(STAGES):
        n_out = WIDTH * 2**stage
        blocks = []
        for _ in range(n_blocks):
            block = {
                "c1": convolution(3, n_in, n_out),
                "c2": convolution(3, n_out, n_out),
            }
            if n_in != n_out:
                block["projection"] = convolution(1, n_in, n_out)
            blocks.append(block)
            n_in = n_out
        params[f"stage{stage}"] = blocks
    params["head"] = normal_params(key, w=(n_in, n_outputs), b=(n_outputs,))
    return params


def frozen_norm(layer, x):
    """Batch normalisation whose statistics are constants of the model."""
    mean = jnp.linspace(-0.1, 0.1, x.shape[-1])
    variance = jnp.linspace(0.7, 1.3, x.shape[-1])
    return (x - mean) * lax.rsqrt(variance + 1e-5) * layer["g"] + layer["b"]


def group_norm(layer, x):
    n, h, w, c = x.shape
    grouped = x.reshape(n, h, w, N_GROUPS, c // N_GROUPS)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = jnp.square(grouped - mean).mean(axis=(1, 2, 4), keepdims=True)
    normal = (grouped - mean) * lax.rsqrt(variance + 1e-2)
    return normal.reshape(n, h, w, c) * layer["g"] + layer["b"]


def resnet18(params, x, norm):
    def layer(leaves, x, stride=1):
        return norm(leaves, convolve(x, leaves["w"], (stride, stride)))

    x = jax.nn.relu(layer(params["stem"], x))
    for stage in range(len(STAGES)):
        for block in params[f"stage{stage}"]:
            stride = 2 if "projection" in block else 1
            y = layer(block["c2"], jax.nn.relu(layer(block["c1"], x, stride)))
            skip = layer(block["projection"], x, stride) if stride == 2 else x
            x = jax.nn.relu(skip + 0.5 * y)
    return x.mean(axis=(1, 2)) @ params["head"]["w"] + params["head"]["b"]


def build(key: jax.Array, norm) -> Problem:
    x1, x2 = normal_examples(key, 8, 8, 3)
    return functools.partial(resnet18, norm=norm), resnet18_params(key, 3, 2), x1, x2


CASES = tuple(
    Case(name=name, build=functools.partial(build, norm=norm), heavy=True)
    for name, norm in (
        ("plain_resnet18_frozen", frozen_norm),
        ("plain_resnet18_group", group_norm),
    )
)
