"""Submodules that are vmapped, jitted or scanned over in parallel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from tests.oracles import dense_kernel, relative_error, x64

RNG = np.random.default_rng(13)
X = RNG.normal(size=(3, 4, 5))


def normal(**shapes):
    return {
        name: RNG.normal(size=shape) / np.sqrt(shape[0])
        for name, shape in shapes.items()
    }


def linear_recurrence(params, x):
    """h_t = a_t h_{t-1} + b_t, all positions at once, as state-space models do."""

    def one(row):
        gates = jax.nn.sigmoid(row @ params["gate"])
        inputs = row @ params["inward"]

        def combined(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        _, states = lax.associative_scan(combined, (gates, inputs))
        return jnp.tanh(states[-1]) @ params["out"]

    return jax.vmap(one)(x)


def heads(params, x):
    """A module for one head, vmapped over the heads' weights and over examples."""

    def head(w, v, row):
        return jnp.tanh(row @ w) @ v

    many = jax.vmap(head, in_axes=(0, 0, None))
    each = jax.vmap(many, in_axes=(None, None, 0))
    return each(params["w"], params["v"], x.mean(axis=1)).sum(axis=1)


def ensemble(params, x):
    """Every member sees inputs of its own."""

    def member(w, rows):
        return jnp.sin(rows @ w)

    members = jax.vmap(member, in_axes=(0, 1), out_axes=1)(params["w"], x)
    return members.mean(axis=1)


def jitted(params, x):
    """One jitted module, called twice with its weights and once with others."""

    @jax.jit
    def block(w, rows):
        return jax.jit(jnp.tanh)(rows @ w)

    rows = x.mean(axis=1)
    return block(params["out"], block(params["w"], block(params["w"], rows)))


def jitted_and_vmapped(params, x):
    @jax.jit
    def of_position(params, row):
        return jax.nn.gelu(row @ params["w"] + params["b"])

    positions = jax.vmap(jax.vmap(of_position, (None, 0)), (None, 0))(params, x)
    return jax.jit(lambda h: h.max(axis=1))(positions)


MODELS = {
    "linear_recurrence": (
        linear_recurrence,
        normal(gate=(5, 3), inward=(5, 3), out=(3, 2)),
    ),
    "heads": (heads, normal(w=(3, 5, 4), v=(3, 4, 2))),
    "ensemble": (ensemble, normal(w=(4, 5, 2))),
    "jitted": (jitted, normal(w=(5, 5), out=(5, 2))),
    "jitted_and_vmapped": (jitted_and_vmapped, normal(w=(5, 2), b=(2,))),
}


@pytest.mark.parametrize("name", MODELS)
def test_kernel(name):
    f, params = MODELS[name]
    with x64():
        got = ntkplan.ntk(f, params, X)
    assert relative_error(got, dense_kernel(f, params, X)) < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_no_layer_is_opaque(name):
    f, params = MODELS[name]
    with x64():
        plan = ntkplan.plan(f, params, X)
    rules = {layer.path: layer.rules for layer in plan.layers}
    assert not any("opaque" in names for names in rules.values()), rules


def test_an_associative_scan_and_the_loop_it_replaces_have_one_kernel():
    _, params = MODELS["linear_recurrence"]

    def looped(params, x):
        def one(row):
            gates = jax.nn.sigmoid(row @ params["gate"])
            inputs = row @ params["inward"]

            def step(state, gate_and_input):
                gate, new = gate_and_input
                return gate * state + new, None

            state, _ = lax.scan(step, jnp.zeros(3), (gates, inputs))
            return jnp.tanh(state) @ params["out"]

        return jax.vmap(one)(x)

    with x64():
        scanned = ntkplan.ntk(linear_recurrence, params, X)
        stepped = ntkplan.ntk(looped, params, X)
    assert relative_error(scanned, stepped) < 1e-10
