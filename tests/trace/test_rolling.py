"""Recurrences that are written out: which become loops, and that these are right."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error, x64

N_STEPS, N_IN, WIDTH = 17, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, N_STEPS, N_IN))


def normal(*shape):
    return RNG.normal(size=shape) * shape[0] ** -0.5


PARAMS = {
    "w": normal(N_IN, WIDTH),
    "u": normal(WIDTH, WIDTH),
    "b": normal(WIDTH),
    "v": normal(WIDTH, 2),
}


def zeros(x):
    return jnp.zeros((x.shape[0], WIDTH), x.dtype)


def step(params, state, entry):
    return jnp.tanh(entry @ params["w"] + state @ params["u"] + params["b"])


def forwards(params, x):
    state = zeros(x)
    for time in range(N_STEPS):
        state = step(params, state, x[:, time])
    return state @ params["v"]


def backwards(params, x):
    state = zeros(x)
    for time in reversed(range(N_STEPS)):
        state = step(params, state, x[:, time])
    return state @ params["v"]


def every_third(params, x):
    x = jnp.concatenate([x, x, x], axis=1)
    state = zeros(x)
    for time in range(1, 3 * N_STEPS, 3):
        state = step(params, state, x[:, time])
    return state @ params["v"]


def outputs_of_some_steps(params, x):
    state, states = zeros(x), []
    for time in range(N_STEPS):
        state = step(params, state, x[:, time])
        states.append(state)
    return (states[2] + states[5] + states[-1]) @ params["v"]


def one_input_for_all(params, x):
    state = zeros(x)
    for _ in range(N_STEPS):
        state = step(params, state, x[:, 0])
    return state @ params["v"]


def stacked_weights(params, x):
    weights = jnp.stack([params["u"] * 0.5] * N_STEPS)
    state = x[:, 0] @ params["w"]
    for time in range(N_STEPS):
        state = jnp.sin(state @ weights[time]) + x[:, time, :1]
    return state @ params["v"]


def no_recurrence(params, x):
    return sum(jnp.tanh(x[:, time] @ params["w"]) for time in range(N_STEPS))


def few_steps(params, x):
    return forwards(params, jnp.tile(x[:, :1], (1, N_STEPS, 1)))[:, :1] + sum(
        step(params, zeros(x), x[:, time])[:, :1] for time in range(4)
    )


LOOPS = (forwards, backwards, every_third, outputs_of_some_steps, one_input_for_all)
OTHERS = (stacked_weights, no_recurrence, few_steps)


@pytest.mark.parametrize("f", [*LOOPS, *OTHERS], ids=lambda f: f.__name__)
def test_kernel_is_the_oracles(f):
    used = {name: PARAMS[name] for name in PARAMS}
    with x64():
        plan = ntkplan.plan(f, used, X)
        got = plan.compile()(used, X)
        assert relative_error(got, dense_kernel(f, used, X)) < 1e-10


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_steps_become_a_loop(f):
    source = ntkplan.plan(f, PARAMS, X.astype(np.float32)).source()
    assert "lax.scan(" in source
    assert source.count("jnp.tanh(") == 1


def test_layers_with_weights_of_their_own_stay_as_they_are():
    params = {f"layer{number}": normal(WIDTH, WIDTH) for number in range(20)}

    def f(params, x):
        for weight in params.values():
            x = jnp.tanh(x @ weight)
        return x

    plan = ntkplan.plan(f, params, normal(2, WIDTH).astype(np.float32))
    assert "lax.scan(" not in plan.source()
    assert all(layer.rules == ("dot_general",) for layer in plan.layers)


def test_layers_that_are_slices_of_one_leaf_keep_their_structure():
    weights = np.stack([normal(WIDTH, WIDTH) for _ in range(20)])

    def f(weights, x):
        for number in range(20):
            x = jnp.tanh(x @ weights[number])
        return x

    x = normal(2, WIDTH)
    with x64():
        plan = ntkplan.plan(f, weights, x)
        error = relative_error(plan.compile()(weights, x), dense_kernel(f, weights, x))
    assert "lax.scan(" in plan.source()
    assert plan.layers[0].rules == ("dot_general",)
    assert error < 1e-10


def test_source_is_as_long_for_many_steps_as_for_few():
    def length(n_steps):
        def f(params, x):
            state = zeros(x)
            for time in range(n_steps):
                state = step(params, state, x[:, time])
            return state @ params["v"]

        x = jax.ShapeDtypeStruct((2, n_steps, N_IN), jnp.float32)
        return ntkplan.plan(f, PARAMS, x).source().count("\n")

    assert length(40) == length(20)
