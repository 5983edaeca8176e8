"""Haiku: a perceptron, a convolutional network trained with Optax, an LSTM."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.case import Problem, fill, in_dtype_of, normal_examples
from tests.models.whole.model import WholeModel

hk = pytest.importorskip("haiku")
optax = pytest.importorskip("optax")

N_CLASSES, N_TRAINING_STEPS = 10, 6


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
    return hk.nets.MLP([11, 7, N_CLASSES], activation=jax.nn.gelu)(x)


def convolutional_network(x, is_training):
    def norm(x):
        return hk.BatchNorm(True, True, 0.9)(x, is_training)

    x = jax.nn.relu(norm(hk.Conv2D(4, 3, with_bias=False)(x)))
    x = hk.max_pool(x, (3, 3, 1), (2, 2, 1), "SAME")
    x = jax.nn.relu(norm(hk.SeparableDepthwiseConv2D(2, (3, 2))(x)))
    x = hk.Conv2D(5, 2, stride=2, padding="VALID", data_format="NHWC")(x)
    return hk.Linear(N_CLASSES)(hk.Flatten()(jnp.tanh(x)))


def recurrent_network(x, is_training):
    core = hk.LSTM(5)
    start = hk.LSTMState(*(jnp.zeros((len(x), 5), x.dtype) for _ in range(2)))
    outputs, _ = hk.dynamic_unroll(core, x, start, time_major=False)
    return hk.Linear(2)(outputs[:, -1])


def trained(key: jax.Array, network, *example_shape: int) -> Problem:
    """A network after some steps of Adam, with its running statistics."""
    transformed = hk.transform_with_state(network)
    x1, x2 = normal_examples(key, *example_shape)
    rng = np.random.default_rng(3)
    inputs = jnp.asarray(rng.normal(size=(12, *example_shape)), jnp.float32)
    classes = rng.integers(N_CLASSES, size=12)
    init = jax.jit(functools.partial(transformed.init, is_training=True))
    params, state = init(key, inputs)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.cosine_decay_schedule(0.03, N_TRAINING_STEPS)),
    )

    def loss(params, state):
        logits, state = transformed.apply(params, state, None, inputs, True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        return losses.mean(), state

    @jax.jit
    def step(params, state, moments):
        (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(
            params, state
        )
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), state, moments, value

    moments, values = optimizer.init(params), []
    for _ in range(N_TRAINING_STEPS):
        params, state, moments, value = step(params, state, moments)
        values.append(float(value))
    assert values[-1] < 0.9 * values[0], "nothing was learned"

    def f(params, x):
        states = in_dtype_of(params, state)
        return transformed.apply(params, states, None, x, is_training=False)[0]

    return f, params, x1, x2


DENSE = {"*/w": ("dot_general",), "*/b": ("add",)}
CONVOLUTIONAL_RULES = {
    "batch_norm*/scale": ("mul",),
    "batch_norm*/offset": ("add",),
    "*conv2_d*/w": ("conv_general_dilated",),
    **DENSE,
}

MODELS = (
    WholeModel(
        name="haiku_perceptron",
        build=lambda key: build(key, perceptron, 7),
        rules=DENSE,
        cheap=True,
    ),
    WholeModel(
        name="haiku_perceptron_trained",
        build=lambda key: trained(key, perceptron, 7),
        rules=DENSE,
    ),
    WholeModel(
        name="haiku_convolutional",
        build=lambda key: build(key, convolutional_network, 8, 7, 2),
        rules=CONVOLUTIONAL_RULES,
        slow=True,
    ),
    WholeModel(
        name="haiku_convolutional_trained",
        build=lambda key: trained(key, convolutional_network, 8, 7, 2),
        rules=CONVOLUTIONAL_RULES,
        slow=True,
    ),
    WholeModel(
        name="haiku_lstm",
        build=lambda key: build(key, recurrent_network, 6, 3),
        rules=DENSE,
        scans=True,
        slow=True,
    ),
)
