"""Loops over stacked layers of many leaves print as readably as those of few."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from tests.emit.formatter import formatted

LEAVES = ("gate", "hidden", "key", "query", "up", "value")


def _stacked(params, x):
    def step(x, layer):
        for name in LEAVES:
            x = jnp.tanh(x @ layer[name])
        return x, None

    return jax.lax.scan(step, x, params["layers"])[0]


@pytest.fixture(scope="module")
def source():
    leaf = jax.ShapeDtypeStruct((3, 4, 4), "float32")
    params = {"layers": dict.fromkeys(LEAVES, leaf)}
    x = jax.ShapeDtypeStruct((2, 4), "float32")
    return ntkplan.plan(_stacked, params, x, device="x86_64_cpu").source()


def test_what_a_step_is_given_is_split_as_the_formatter_splits_it(source):
    assert max(map(len, source.splitlines())) <= 88
    assert formatted(source) == source


def test_taps_in_a_loop_are_called_after_their_leaves(source):
    for name in LEAVES:
        assert f'"layers_{name}": jnp.zeros((3, 4), jnp.float32),' in source
        assert f" @ layer_{name} + layers_{name}_tap)" in source
    # What the loop is given at each step comes from no tap of that step.
    keys = ["layers_gate_in", *(f"layers_{name}_act" for name in LEAVES[:-1])]
    assert all(f'"{key}": {key}.reshape(3, 4)' in source for key in keys)


def test_what_a_layer_reads_after_a_loop_is_called_after_that_layer():
    def model(params, x):
        last, _ = jax.lax.scan(
            lambda state, x: (jnp.tanh(x @ params["w"] + state @ params["u"]), None),
            jnp.zeros((len(x), 4)),
            jnp.swapaxes(x, 0, 1),
        )
        return last @ params["readout"]

    shapes = {"w": (5, 4), "u": (4, 4), "readout": (4, 2)}
    params = {
        name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()
    }
    x = jax.ShapeDtypeStruct((2, 3, 5), "float32")
    source = ntkplan.plan(model, params, x, device="x86_64_cpu").source()
    assert "x_item, u_tap = xs" in source
    assert "readout_in, (u_in, w_in) = lax.scan(" in source
