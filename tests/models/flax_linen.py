"""Flax Linen modules: `init` gives the variables, `apply` is `f`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from tests.case import Case, Problem, fill, in_dtype_of, normal_examples

nn = pytest.importorskip("flax.linen")


def build(key: jax.Array, module, *example_shape: int) -> Problem:
    x1, x2 = normal_examples(key, *example_shape)
    variables = dict(fill(key, jax.eval_shape(module.init, key, x1)))
    params = variables.pop("params")

    def f(params, x):
        return module.apply({"params": params, **in_dtype_of(params, variables)}, x)

    return f, params, x1, x2


class Perceptron(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(11)(x))
        x = nn.Dropout(0.5, deterministic=True)(x)
        return nn.Dense(3)(x)


class ConvolutionalNetwork(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(5, (3, 3), strides=(2, 1))(x))
        x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(nn.Conv(3, (2, 2), padding="VALID")(x))
        x = nn.max_pool(x, (1, 2))
        return nn.Dense(2)(x.reshape(x.shape[0], -1))


class Block(nn.Module):
    n_out: int
    stride: int

    @nn.compact
    def __call__(self, x):
        strides = (self.stride, self.stride)
        y = nn.Conv(self.n_out, (3, 3), strides, use_bias=False)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=True)(y))
        y = nn.GroupNorm(num_groups=2)(nn.Conv(self.n_out, (3, 3), use_bias=False)(y))
        return nn.relu(nn.Conv(self.n_out, (1, 1), strides)(x) + y)


class ResidualNetwork(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Block(n_out=6, stride=2)(Block(n_out=4, stride=1)(x))
        return nn.Dense(3)(x.mean(axis=(1, 2)))


class TransformerEncoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x + self.param("positions", nn.initializers.normal(0.3), (5, 6))
        normal = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(normal)
        x = x + nn.Dense(6)(nn.gelu(nn.Dense(7)(nn.LayerNorm()(x))))
        return nn.Dense(3)(x.mean(axis=1))


class RecurrentNetwork(nn.Module):
    @nn.compact
    def __call__(self, x):
        cell = nn.SimpleCell(5)
        state = jnp.zeros((x.shape[0], 5), x.dtype)
        for time in range(12):
            state, _ = cell(state, x[:, time])
        return nn.Dense(2)(state)


CASES = (
    Case(name="linen_mlp", build=lambda key: build(key, Perceptron(), 7)),
    Case(
        name="linen_cnn", build=lambda key: build(key, ConvolutionalNetwork(), 7, 6, 2)
    ),
    Case(name="linen_resnet", build=lambda key: build(key, ResidualNetwork(), 6, 6, 2)),
    Case(
        name="linen_transformer",
        build=lambda key: build(key, TransformerEncoder(), 5, 6),
        idle=("attention/key/bias",),
    ),
    Case(name="linen_rnn", build=lambda key: build(key, RecurrentNetwork(), 12, 3)),
)
