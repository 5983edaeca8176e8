"""Convolutions of 1 x 1 call the function of those with larger windows."""

from __future__ import annotations

import re

import jax.numpy as jnp
import pytest
from jax import lax

import ntkplan
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

_N_BLOCKS = 3


def _network(padding, params, x):
    def conv(x, kernel, stride=1):
        axes = ("NHWC", "HWIO", "NHWC")
        strides = (stride, stride)
        return lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=axes
        )

    for number, block in enumerate(params["blocks"]):
        x = jnp.tanh(conv(x, block["reduce"], 2 if number == 1 else 1))
        x = jnp.tanh(conv(x, block["spread"]))
    return jnp.mean(x, (1, 2)) @ params["head"]


def _problem():
    draw = drawing()
    blocks = [
        {"reduce": draw(1, 1, 3, 3), "spread": draw(3, 3, 3, 3)}
        for _ in range(_N_BLOCKS)
    ]
    return {"blocks": blocks, "head": draw(3, 2)}, draw(2, 16, 16, 3)


def _functions(source):
    return re.findall(r"^def (\w*products\w*)\((.*)\):", source, re.MULTILINE)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("method", ["jacobian_contraction", "structured_derivatives"])
def test_one_function_for_all_windows(method, padding):
    def network(params, x):
        return _network(padding, params, x)

    params, x = _problem()
    methods = {"blocks/*": method}
    plan = ntkplan.plan(network, params, x, device="cpu", methods=methods)
    source = plan.source()
    named = [item for item in _functions(source) if "window" in item[1]]
    assert len(named) == 1
    ((_, parameters),) = named
    # A square window is one number, and so are its strides.
    assert re.search(r"window(=[13])?, stride=1$", parameters)
    assert "stride=2" in source
    # The helper takes a padding where one has to be said, and there alone.
    assert ("def windows(x, window, strides):" in source) == (padding == "SAME")
    assert ("def conv(x, kernel, strides):" in source) == (padding == "SAME")
    got = plan.compile()(params, x)
    assert relative_error(got, dense_kernel(network, params, x)) < 1e-5
