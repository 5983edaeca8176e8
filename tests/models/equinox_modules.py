"""Equinox modules: `partition` into arrays and the rest, `combine` inside of `f`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from tests.case import Case, Problem, fill, normal_examples

eqx = pytest.importorskip("equinox")


def build(key: jax.Array, make_module, *example_shape: int) -> Problem:
    module = fill(key, eqx.filter_eval_shape(make_module, key))
    params, static = eqx.partition(module, eqx.is_inexact_array)

    def f(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return f, params, *normal_examples(key, *example_shape)


class ConvolutionalNetwork(eqx.Module):
    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Conv2d(2, 5, 3, stride=(2, 1), padding=1, key=keys[0])
        self.second = eqx.nn.Conv2d(5, 3, 2, use_bias=False, key=keys[1])
        self.head = eqx.nn.Linear(3, 2, key=keys[2])

    def __call__(self, x):
        x = eqx.nn.AvgPool2d(2, 2)(jax.nn.relu(self.first(x)))
        x = eqx.nn.MaxPool2d((1, 2), 1)(jax.nn.relu(self.second(x)))
        return self.head(x.reshape(-1))


class Block(eqx.Module):
    c1: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    c2: eqx.nn.Conv2d
    skip: eqx.nn.Conv2d

    def __init__(self, n_in, n_out, stride, key):
        keys = jax.random.split(key, 3)
        self.c1 = eqx.nn.Conv2d(n_in, n_out, 3, stride, padding=1, key=keys[0])
        self.norm = eqx.nn.GroupNorm(groups=2, channels=n_out)
        self.c2 = eqx.nn.Conv2d(n_out, n_out, 3, padding=1, key=keys[1])
        self.skip = eqx.nn.Conv2d(n_in, n_out, 1, stride, key=keys[2])

    def __call__(self, x):
        return jax.nn.relu(self.skip(x) + self.c2(jax.nn.relu(self.norm(self.c1(x)))))


class ResidualNetwork(eqx.Module):
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.blocks = [Block(2, 4, 1, keys[0]), Block(4, 6, 2, keys[1])]
        self.head = eqx.nn.Linear(6, 3, key=keys[2])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


class TransformerEncoder(eqx.Module):
    positions: jax.Array
    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    hidden: eqx.nn.MLP
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.positions = 0.3 * jax.random.normal(keys[0], (5, 6))
        self.norm1, self.norm2 = eqx.nn.LayerNorm(6), eqx.nn.LayerNorm(6)
        self.attention = eqx.nn.MultiheadAttention(2, 6, key=keys[1])
        self.hidden = eqx.nn.MLP(6, 6, 7, 1, activation=jax.nn.gelu, key=keys[2])
        self.head = eqx.nn.Linear(6, 3, key=keys[3])

    def __call__(self, x):
        x = x + self.positions
        normal = jax.vmap(self.norm1)(x)
        x = x + self.attention(normal, normal, normal)
        x = x + jax.vmap(self.hidden)(jax.vmap(self.norm2)(x))
        return self.head(x.mean(axis=0))


class RecurrentNetwork(eqx.Module):
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(3, 5, key=keys[0])
        self.head = eqx.nn.Linear(5, 2, key=keys[1])

    def __call__(self, x):
        state = jnp.zeros(5, x.dtype)
        for time in range(12):
            state = self.cell(x[time], state)
        return self.head(state)


def perceptron(key):
    return eqx.nn.MLP(7, 3, 11, 2, key=key)


CASES = (
    Case(name="equinox_mlp", build=lambda key: build(key, perceptron, 7)),
    Case(
        name="equinox_cnn",
        build=lambda key: build(key, ConvolutionalNetwork, 2, 7, 6),
    ),
    Case(
        name="equinox_resnet",
        build=lambda key: build(key, ResidualNetwork, 2, 6, 6),
    ),
    Case(
        name="equinox_transformer",
        build=lambda key: build(key, TransformerEncoder, 5, 6),
    ),
    Case(
        name="equinox_rnn",
        build=lambda key: build(key, RecurrentNetwork, 12, 3),
    ),
)
