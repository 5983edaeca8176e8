"""Flax NNX modules: `split` into a graph and a state, `merge` inside of `f`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from tests.case import Case, Problem, fill, in_dtype_of, normal_examples

nnx = pytest.importorskip("flax.nnx")


def problem(key: jax.Array, module, *example_shape: int) -> Problem:
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def f(params, x):
        return nnx.merge(graph, params, in_dtype_of(params, rest))(x)

    return f, params, *normal_examples(key, *example_shape)


class Perceptron(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(7, 11, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True)
        self.head = nnx.Linear(11, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.hidden(x))))


class ConvolutionalNetwork(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(2, 5, (3, 3), strides=(2, 1), rngs=rngs)
        self.second = nnx.Conv(5, 3, (2, 2), padding="VALID", rngs=rngs)
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.first(x)), (2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.second(x)), (1, 2), strides=(1, 1))
        return self.head(x.reshape(x.shape[0], -1))


class Block(nnx.Module):
    def __init__(self, n_in, n_out, stride, rngs):
        self.c1 = nnx.Conv(
            n_in, n_out, (3, 3), strides=stride, use_bias=False, rngs=rngs
        )
        self.norm1 = nnx.BatchNorm(n_out, use_running_average=True, rngs=rngs)
        self.c2 = nnx.Conv(n_out, n_out, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = nnx.GroupNorm(n_out, num_groups=2, rngs=rngs)
        self.skip = nnx.Conv(n_in, n_out, (1, 1), strides=stride, rngs=rngs)

    def __call__(self, x):
        y = self.norm2(self.c2(nnx.relu(self.norm1(self.c1(x)))))
        return nnx.relu(self.skip(x) + y)


class ResidualNetwork(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([Block(2, 4, 1, rngs), Block(4, 6, 2, rngs)])
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


class TransformerEncoder(nnx.Module):
    def __init__(self, rngs):
        self.positions = nnx.Param(0.3 * jax.random.normal(rngs.params(), (5, 6)))
        self.norm1 = nnx.LayerNorm(6, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(6, rngs=rngs)
        self.up = nnx.Linear(6, 7, rngs=rngs)
        self.down = nnx.Linear(7, 6, rngs=rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        x = x + self.positions[...]
        x = x + self.attention(self.norm1(x))
        x = x + self.down(nnx.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(axis=1))


class RecurrentNetwork(nnx.Module):
    def __init__(self, rngs):
        self.cell = nnx.GRUCell(3, 5, rngs=rngs)
        self.head = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        state = jnp.zeros((x.shape[0], 5), x.dtype)
        for time in range(12):
            state, _ = self.cell(state, x[:, time])
        return self.head(state)


def build(key: jax.Array, module_class, *example_shape: int) -> Problem:
    module = nnx.eval_shape(lambda: module_class(nnx.Rngs(0)))
    graph, state = nnx.split(module)
    return problem(key, nnx.merge(graph, fill(key, state)), *example_shape)


CASES = (
    Case(name="nnx_mlp", build=lambda key: build(key, Perceptron, 7)),
    Case(name="nnx_cnn", build=lambda key: build(key, ConvolutionalNetwork, 7, 6, 2)),
    Case(name="nnx_resnet", build=lambda key: build(key, ResidualNetwork, 6, 6, 2)),
    Case(
        name="nnx_transformer",
        build=lambda key: build(key, TransformerEncoder, 5, 6),
        idle=("attention/key/bias*",),
        float64_tolerance=1e-6,  # the softmax of its attention is in float32
    ),
    Case(name="nnx_rnn", build=lambda key: build(key, RecurrentNetwork, 12, 3)),
)
