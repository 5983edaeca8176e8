"""Leaves take orders that others have, where the kernel loses next to nothing by it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import ntkplan
from ntkplan.planner import alike
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

_WIDTH, _N_OUTPUTS = 8, 10
_MOST_LOSS = alike._MOST_LOSS


def _conv(x, kernel, stride=1):
    axes = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=axes)


def _network(params, x):
    for number, block in enumerate(params["blocks"]):
        x = _conv(x, block["down"], 2 if number in (2, 4) else 1) * block["scale"]
        x = jax.nn.relu(x)
        x += jax.nn.relu(_conv(x, block["on"]))
    return jnp.mean(x, (1, 2)) @ params["head"]


def _problem(n, side):
    draw = drawing()
    blocks = [
        {
            "down": draw(3, 3, 3 if number == 0 else _WIDTH, _WIDTH),
            "scale": draw(_WIDTH),
            "on": draw(3, 3, _WIDTH, _WIDTH),
        }
        for number in range(6)
    ]
    return {"blocks": blocks, "head": draw(_WIDTH, _N_OUTPUTS)}, draw(n, side, side, 3)


def _orders(plan):
    return {(layer.chosen.method, layer.chosen.order) for layer in plan.layers}


def _plan(monkeypatch, most_loss, *, n=2, side=16, **options):
    monkeypatch.setattr(alike, "_MOST_LOSS", most_loss)
    problem = _problem(n, side)
    return ntkplan.plan(_network, *problem, device="x86_64_cpu", **options)


def test_fewer_orders_for_a_hundredth_of_the_time(monkeypatch):
    plain = _plan(monkeypatch, _MOST_LOSS)
    fastest = _plan(monkeypatch, 0.0)
    assert _orders(plain) < _orders(fastest)
    assert fastest.cost.seconds <= plain.cost.seconds
    assert plain.cost.seconds <= fastest.cost.seconds * (1 + _MOST_LOSS)
    told = [layer.path for layer in plain.layers if "order of other" in layer.why]
    changed = [
        new.path
        for new, old in zip(plain.layers, fastest.layers, strict=True)
        if new.chosen.order != old.chosen.order
    ]
    assert told == changed
    assert len(plain.source().splitlines()) < len(fastest.source().splitlines())


def test_the_kernel_is_the_same(monkeypatch):
    params, x = _problem(2, 16)
    got = _plan(monkeypatch, _MOST_LOSS).compile()(params, x)
    assert relative_error(got, dense_kernel(_network, params, x)) < 1e-5


def test_what_loses_more_is_left_as_it_is(monkeypatch):
    fastest = _plan(monkeypatch, 0.0)
    little = _plan(monkeypatch, 1e-5)
    assert _orders(little) == _orders(fastest)
    assert little.cost.seconds == pytest.approx(fastest.cost.seconds, rel=2e-5)


def test_a_method_that_was_asked_for_stays(monkeypatch):
    methods = {"blocks/5/on": "structured_derivatives"}
    plan = _plan(monkeypatch, 0.5, methods=methods)
    found = {layer.path: layer.chosen.method for layer in plan.layers}
    assert found["blocks/5/on"] == "structured_derivatives"


def test_what_would_not_fit_is_not_taken(monkeypatch):
    """With room for the fastest choice alone, that is what is taken."""
    fastest = _plan(monkeypatch, 0.0)
    plain = _plan(monkeypatch, _MOST_LOSS)
    assert plain.cost.peak_bytes > fastest.cost.peak_bytes
    limit = int(fastest.cost.peak_bytes) + 1
    limited = _plan(monkeypatch, _MOST_LOSS, memory_limit=limit)
    assert limited.cost.peak_bytes <= limit
    assert limited.cost.seconds == pytest.approx(fastest.cost.seconds)
