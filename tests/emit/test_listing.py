"""Many sets of like layers are a list of calls, and what it computes is right."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

import ntkplan
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

_JACOBIAN, _STRUCTURED = "jacobian_contraction", "structured_derivatives"
_N_BLOCKS = 6
_METHODS = {
    "blocks/*/scale": _JACOBIAN,
    **{f"blocks/{n}/reduce": _JACOBIAN for n in range(4)},
    **{f"blocks/{n}/spread": _JACOBIAN for n in (0, 1, 3)},
    "blocks/*/reduce": _STRUCTURED,
    "blocks/*/spread": _STRUCTURED,
}


def _conv(x, kernel, stride=1):
    axes = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=axes
    )


def _network(params, x):
    for number, block in enumerate(params["blocks"]):
        y = jnp.tanh(_conv(x, block["reduce"], 2 if number == 2 else 1))
        y = _conv(y, block["spread"]) + block.get("bias", 0.0)
        y = jnp.tanh(y * block["scale"])
        x = y if number == 2 else x + y
    return jnp.mean(x, (1, 2)) @ params["head"]


def _problem():
    draw = drawing()
    blocks = [
        {"reduce": draw(1, 1, 3, 3), "spread": draw(3, 3, 3, 3), "scale": draw(3)}
        for _ in range(_N_BLOCKS)
    ]
    return {"blocks": blocks, "head": draw(3, 2)}, draw(3, 6, 6, 3), draw(2, 6, 6, 3)


def test_calls_for_many_sets_of_parts_are_listed():
    params, x1, x2 = _problem()
    plan = ntkplan.plan(_network, params, x1, x2, device="cpu", methods=_METHODS)
    source = plan.source()
    assert "    def add(chosen, products, *keys, **settings):" in source
    # A step of one is the default where others take every second entry.
    assert "stride=1):" in source
    assert "stride=2)" in source
    # Every leaf of every block is computed by a function, and in no other way.
    assert "_product" in source
    got = plan.compile()(params, x1, x2)
    wanted = dense_kernel(_network, params, x1, x2)
    assert relative_error(got, wanted) < 1e-5


def test_listed_biases_are_named():
    params, x1, x2 = _problem()
    draw = drawing()
    for block in params["blocks"]:
        block["bias"] = draw(3)
    plan = ntkplan.plan(_network, params, x1, x2, device="cpu", methods=_METHODS)
    source = plan.source()
    assert "    def add(chosen, products, *keys, **settings):" in source
    assert "    # with biases: bias\n" in source
    got = plan.compile()(params, x1, x2)
    wanted = dense_kernel(_network, params, x1, x2)
    assert relative_error(got, wanted) < 1e-5
