"""Haiku functions: `transform` gives `init` and `apply`; random keys are bound."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from tests.case import Case, Problem, fill, in_dtype_of, normal_examples

hk = pytest.importorskip("haiku")


def build(key: jax.Array, network, *example_shape: int) -> Problem:
    transformed = hk.transform_with_state(network)
    x1, x2 = normal_examples(key, *example_shape)
    init = functools.partial(transformed.init, is_training=True)
    params, state = fill(key, jax.eval_shape(init, key, x1))

    def f(params, x):
        return transformed.apply(
            params, in_dtype_of(params, state), None, x, is_training=False
        )[0]

    return f, params, x1, x2


def perceptron(x, is_training):
    return hk.nets.MLP([11, 5, 3])(x)


def convolutional_network(x, is_training):
    x = jax.nn.relu(hk.Conv2D(5, 3, stride=(2, 1))(x))
    x = hk.avg_pool(x, (2, 2, 1), (2, 2, 1), "VALID")
    x = jax.nn.relu(hk.Conv2D(3, 2, padding="VALID", with_bias=False)(x))
    x = hk.max_pool(x, (1, 2, 1), (1, 1, 1), "VALID")
    return hk.Linear(2)(hk.Flatten()(x))


def residual_network(x, is_training):
    network = hk.nets.ResNet(
        blocks_per_group=(1, 1, 1, 1),
        num_classes=3,
        bottleneck=False,
        channels_per_group=(2, 4, 4, 6),
        use_projection=(True, True, True, True),
    )
    return network(x, is_training)


def transformer_encoder(x, is_training):
    def norm():
        return hk.LayerNorm(-1, create_scale=True, create_offset=True)

    x = x + hk.get_parameter(
        "positions", (5, 6), init=hk.initializers.RandomNormal(0.3)
    )
    normal = norm()(x)
    initial = hk.initializers.VarianceScaling(1.0)
    attention = hk.MultiHeadAttention(
        2, 3, w_init=initial, model_size=6, name="attention"
    )
    x = x + attention(normal, normal, normal)
    x = x + hk.Linear(6)(jax.nn.gelu(hk.Linear(7)(norm()(x))))
    return hk.Linear(3)(x.mean(axis=1))


def recurrent_network(x, is_training):
    core = hk.VanillaRNN(5)
    state = jnp.zeros((x.shape[0], 5), x.dtype)
    outputs, _ = hk.static_unroll(core, x, state, time_major=False)
    return hk.Linear(2)(outputs[:, -1])


CASES = (
    Case(name="haiku_mlp", build=lambda key: build(key, perceptron, 7)),
    Case(
        name="haiku_cnn", build=lambda key: build(key, convolutional_network, 7, 6, 2)
    ),
    Case(name="haiku_resnet", build=lambda key: build(key, residual_network, 9, 9, 2)),
    Case(
        name="haiku_transformer",
        build=lambda key: build(key, transformer_encoder, 5, 6),
        idle=("attention/key/b",),
    ),
    Case(name="haiku_rnn", build=lambda key: build(key, recurrent_network, 12, 3)),
)
