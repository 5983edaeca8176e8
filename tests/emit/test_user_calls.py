"""Functions and values are named after the user's own, where JAX knows them."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.trace import jaxpr
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

_OPTIONS = {"device": "cpu", "methods": "structured_derivatives"}


def _centred(x):
    return x - jnp.mean(x, axis=-1, keepdims=True)


def _mixed(params, x):
    weights = jnp.exp(jnp.sin(x) @ params["mix"])
    return weights / jnp.sum(weights, axis=-1, keepdims=True) * x


def transformer_block(params, x):
    y = _centred(x)
    mixed = _mixed(params, y)
    return jnp.tanh((mixed + y * mixed) @ params["up"]) @ params["down"] + x


def _network(params, x):
    for layer in params["layers"]:
        x = transformer_block(layer, x)
    return x @ params["head"]


@pytest.fixture(scope="module")
def problem():
    draw = drawing()
    layers = [
        {"mix": draw(4, 4), "up": draw(4, 6), "down": draw(6, 4)} for _ in range(3)
    ]
    return {"layers": layers, "head": draw(4, 2)}, draw(3, 4), draw(2, 4)


def test_like_parts_are_called_after_the_function_that_they_come_from(problem):
    plan = ntkplan.plan(_network, *problem, **_OPTIONS)
    source = plan.source()
    assert "def transformer_block(params, x, taps):" in source
    assert source.count("= transformer_block(") == 1
    # What `_mixed` and `_centred` return; neither has another name.
    assert "mixed_out = " in source
    assert "centred_out = " in source
    assert ntkplan.Plan.from_json(plan.to_json()).source() == source
    assert ntkplan.plan(_network, *problem, **_OPTIONS).source() == source
    wanted = dense_kernel(_network, *problem)
    assert relative_error(plan.compile()(*problem), wanted) < 1e-5


def test_without_sources_names_are_those_of_paths(problem, monkeypatch):
    monkeypatch.setattr(jaxpr, "call_stack", lambda equation: ())
    source = ntkplan.plan(_network, *problem, **_OPTIONS).source()
    assert "def layer(params, x, taps):" in source
    assert "transformer_block" not in source
    assert "mixed_out" not in source


def test_parts_of_several_functions_have_the_name_of_their_path(problem):
    params, x1, x2 = problem

    def encoder(layer, x):
        return transformer_block(layer, x)

    def decoder(layer, x):
        return transformer_block(layer, x) * 1.0

    def one_of_two(params, x):
        x = encoder(params["layers"][0], x)
        x = _alike(params["layers"][1], x)
        return decoder(params["layers"][2], x) @ params["head"]

    source = ntkplan.plan(one_of_two, params, x1, x2, **_OPTIONS).source()
    assert "def layer(params, x, taps):" in source


def _alike(layer, x):
    y = x - jnp.mean(x, axis=-1, keepdims=True)
    mixed = _mixed(layer, y)
    return jnp.tanh((mixed + y * mixed) @ layer["up"]) @ layer["down"] + x


def test_names_that_the_module_has_are_not_taken(problem):
    def kernel(layer, x):
        y = _mixed(layer, jnp.sin(x))
        return jnp.tanh(y @ layer["up"]) @ layer["down"] + x

    def network(params, x):
        for layer in params["layers"]:
            x = kernel(layer, x)
        return x @ params["head"]

    params, x1, x2 = problem
    plan = ntkplan.plan(network, params, x1, x2, **_OPTIONS)
    assert "def kernel_1(params, x, taps):" in plan.source()
    wanted = dense_kernel(network, params, x1, x2)
    assert relative_error(plan.compile()(params, x1, x2), wanted) < 1e-5


def test_no_function_is_called_as_one_of_the_users():
    """Functions of blocks are named after the user's, whatever they are called."""

    def jacobian_products(params, x):
        x = jnp.tanh(x @ params["w"] * params["scale"])
        return x + jnp.sin(x @ params["v"]) * params["scale"]

    def network(params, x):
        for block in params["blocks"]:
            x = jacobian_products(block, x)
        return x @ params["head"]

    rng = np.random.default_rng(0)
    block = {"w": (4, 4), "scale": (4,), "v": (4, 4)}
    blocks = [
        {key: rng.normal(size=shape).astype(np.float32) for key, shape in block.items()}
        for _ in range(4)
    ]
    params = {"blocks": blocks, "head": rng.normal(size=(4, 2)).astype(np.float32)}
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)

    def pooled(params, x):
        return network(params, x).sum(1)

    methods = {"*": "jacobian_contraction"}
    plan = ntkplan.plan(pooled, params, x, device="cpu", methods=methods)
    defined = re.findall(r"^def (\w+)", plan.source(), re.MULTILINE)
    assert {"jacobian_products", "jacobian_products_1"} <= {*defined}
    assert len(set(defined)) == len(defined)
    got = plan.compile()(params, x)
    assert relative_error(got, dense_kernel(pooled, params, x)) < 1e-5
