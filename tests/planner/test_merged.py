"""Jacobians that share a factor are one product to a GPU's compiler."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from ntkplan.cost import symbols
from ntkplan.planner import merged

STEPS, WIDTH, INPUTS, OUTPUTS = 16, 64, 32, 4


def recurrent(params, x):
    def step(state, token):
        state = jnp.tanh(state @ params["w"] + token @ params["u"])
        return state, None

    start = jnp.zeros((x.shape[0], WIDTH), x.dtype)
    state, _ = jax.lax.scan(step, start, jnp.moveaxis(x, 1, 0))
    return state @ params["head"]


def planned(device, n, other=None, **options):
    def spec(*shape):
        return jax.ShapeDtypeStruct(shape, "float32")

    shapes = {"w": (WIDTH, WIDTH), "u": (INPUTS, WIDTH), "head": (WIDTH, OUTPUTS)}
    params = {name: spec(*shape) for name, shape in shapes.items()}
    sides = [spec(rows, STEPS, INPUTS) for rows in (n, other) if rows is not None]
    options = {"methods": "jacobian_contraction", **options}
    return ntkplan.plan(recurrent, params, *sides, device=device, **options)


def jacobians_bytes(n):
    return 4 * n * OUTPUTS * WIDTH * (WIDTH + INPUTS)


def held_bytes(monkeypatch, *arguments):
    """What the plan has alive beside what it would have if none were merged."""
    peak = planned(*arguments).cost.peak_bytes
    monkeypatch.setattr(merged, "_LARGE_BYTES", 0)
    return peak - planned(*arguments).cost.peak_bytes


@pytest.mark.parametrize("other", [None, 128])
def test_one_product_is_held_beside_what_is_copied_out_of_it(other, monkeypatch):
    n, sides = 128, 1 if other is None else 2
    plan = planned("nvidia_h100", n, other)
    at = dict(zip(symbols.SYMBOLS, (n, other or n, OUTPUTS), strict=True))
    assert int(plan.symbolic.total.peak_bytes.subs(at)) == plan.cost.peak_bytes
    held = held_bytes(monkeypatch, "nvidia_h100", n, other)
    assert held == sides * jacobians_bytes(n)


@pytest.mark.parametrize(("device", "n"), [("nvidia_h100", 8192), ("tpu_v5e", 128)])
def test_large_products_stay_apart_and_other_compilers_merge_none(
    device, n, monkeypatch
):
    # Of the smaller side those of eight examples are one product.
    assert held_bytes(monkeypatch, device, n, 8) <= jacobians_bytes(8)


def test_the_limit_holds_for_the_one_product():
    free = planned("nvidia_h100", 128, methods=None)
    limit = int(free.cost.peak_bytes * 0.9)
    assert (
        planned("nvidia_h100", 128, methods=None, memory_limit=limit).cost.peak_bytes
        <= limit
    )
