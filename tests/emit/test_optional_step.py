"""Blocks with and without a projection are one function that computes the kernel."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import pytest
from jax import lax

import ntkplan
from ntkplan.emit.optional_step import PartText, merged
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

_OPTIONS = {"device": "cpu", "methods": "structured_derivatives"}


def _conv(x, kernel, stride=1):
    axes = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=axes)


def residual_block(params, x, stride):
    y = jnp.tanh(_conv(x, params["conv1"]["kernel"], stride) + params["conv1"]["bias"])
    y = _conv(y, params["conv2"]["kernel"]) + params["conv2"]["bias"]
    if "skip" in params:
        x = _conv(x, params["skip"]["kernel"], stride) * params["skip"]["scale"]
    return jnp.tanh(x + y)


def _network(params, x):
    for number, block in enumerate(params["blocks"]):
        x = residual_block(block, x, 2 if number == 2 else 1)
    # The last block is like the others: nothing can be tapped behind a cube.
    return (x**3).reshape(len(x), -1) @ params["head"]


@pytest.fixture(scope="module")
def problem():
    draw = drawing()
    widths = [3, 4, 4, 6, 6]
    blocks = []
    for given, returned in itertools.pairwise(widths):
        block = {
            "conv1": {"kernel": draw(3, 3, given, returned), "bias": draw(returned)},
            "conv2": {"kernel": draw(3, 3, returned, returned), "bias": draw(returned)},
        }
        if given != returned:
            block["skip"] = {"kernel": draw(1, 1, given, returned)}
            block["skip"]["scale"] = draw(returned)
        blocks.append(block)
    params = {"blocks": blocks, "head": draw(3 * 3 * 6, 2)}
    return params, draw(3, 6, 6, 3), draw(2, 6, 6, 3)


def test_a_step_that_some_blocks_leave_out_stands_under_a_condition(problem):
    plan = ntkplan.plan(_network, *problem, **_OPTIONS)
    source = plan.source()
    assert source.count("def residual_block") == 1
    assert 'if "skip_kernel" in taps:' in source
    wanted = dense_kernel(_network, *problem)
    assert relative_error(plan.compile()(*problem), wanted) < 5e-5


def _text(body, returned, records=()):
    return PartText(trees={}, body=body, records=records, returned=(returned,))


_LONGER = _text(('h0 = x @ params["w"]', 'h1 = x + taps["skip"]', "h2 = h1 + h0"), "h2")
_SHORTER = _text(('h0 = x @ params["w"]', "h1 = x + h0"), "h1")


def test_merged_statements_are_those_of_the_longer_part():
    lines, others = merged(_LONGER, _SHORTER)
    assert lines == others
    assert lines == [
        'h0 = x @ params["w"]',
        "h1 = x",
        'if "skip" in taps:',
        '    h1 = x + taps["skip"]',
        "h2 = h1 + h0",
        "return h2",
    ]


@pytest.mark.parametrize(
    "shorter",
    [
        pytest.param(
            _text(('h0 = x @ params["w"]', "h1 = x - h0"), "h1"), id="operator"
        ),
        pytest.param(
            _text(('h0 = x @ params["w"]', 'h1 = x + taps["skip"]'), "h1"),
            id="key_in_both",
        ),
        pytest.param(_text(('h0 = x @ params["w"]', "h1 = x + h0"), "h0"), id="result"),
        pytest.param(
            _text(('h0 = x @ params["w"]', "h1 = x + x"), "h1"), id="two_in_place"
        ),
        pytest.param(_LONGER, id="no_step"),
        pytest.param(
            _text(
                ('h0 = x @ params["w"]', "h1 = x + h0"),
                "h1",
                records=(("other", "h0[0]"),),
            ),
            id="records",
        ),
    ],
)
def test_what_differs_otherwise_is_not_merged(shorter):
    assert merged(_LONGER, shorter) is None
