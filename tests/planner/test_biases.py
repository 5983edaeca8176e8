"""Biases of convolutions that are computed with their weights."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from tests.draws import drawing
from tests.oracles import cast_floats, dense_kernel, relative_error, x64

METHOD = "jacobian_contraction"
STRUCTURED = "structured_derivatives"
LAYOUTS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def convolve(x, w, strides=None, padding="SAME", **options):
    strides = strides or (1,) * (w.ndim - 2)
    layout = LAYOUTS[w.ndim - 2]
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=layout, **options
    )


def convolutional(params, x, **options):
    h = jnp.sin(convolve(x, params["w"], **options) + params["b"])
    return h.reshape(len(h), -1) @ params["head"]


def problem(*shape, example=(5, 4, 3), bias=None, **options):
    """Returns a model of one convolution, its params, and examples of both sides."""
    draw = drawing()
    f = functools.partial(convolutional, **options)
    params = {"w": draw(*shape), "b": draw(*(bias or shape[-1:]))}
    x1, x2 = draw(3, *example), draw(2, *example)
    h = convolve(x1, params["w"], **options)
    params["head"] = draw(h[0].size, 2)
    return f, params, x1, x2


def planned(f, params, x1, x2=None, **options):
    options = {"methods": {"w": METHOD}, "device": "cpu", **options}
    return ntkplan.plan(f, params, x1, x2, **options)


def record_of(plan, path):
    (found,) = (layer for layer in plan.layers if layer.path == path)
    return found


def is_joined(plan, bias="b", weight="w"):
    """Says whether a bias goes with its weight, in the plan's words and in its text."""
    said = (
        f"computed with {weight}, as a weight of ones; its figures"
        in record_of(plan, bias).why
    )
    source = plan.source()
    assert said == ("windows_and_one(" in source) == ("# with biases: " in source)
    same = record_of(plan, bias).method == record_of(plan, weight).method
    assert same or not said
    return said


@pytest.mark.parametrize(
    ("kernel", "alone"),
    [
        ("full", True),
        ("full", False),
        ("trace", False),
        ("diagonal", True),
        ("sum_of_logits", False),
    ],
)
@pytest.mark.parametrize("method", [METHOD, STRUCTURED])
@pytest.mark.parametrize(
    "case",
    [
        {"shape": (3, 3, 3, 4)},
        {"shape": (3, 2, 3, 4), "padding": "VALID", "strides": (2, 1)},
        {"shape": (2, 2, 3, 4), "padding": ((1, 0), (0, 2))},
        {"shape": (2, 2, 3, 4), "rhs_dilation": (2, 1)},
        {"shape": (3, 3, 1, 4), "example": (5, 4, 1)},
        {"shape": (5, 4, 3, 4), "padding": "VALID"},
        {"shape": (3, 2, 4), "example": (6, 2)},
        {"shape": (2, 2, 2, 2, 3), "example": (3, 2, 3, 2)},
    ],
    ids=lambda case: "x".join(map(str, case["shape"])),
)
def test_joined_biases_are_right(case, alone, method, kernel):
    case = dict(case)
    f, params, x1, x2 = problem(*case.pop("shape"), **case)
    with x64():
        params, x1, x2 = cast_floats((params, x1, x2), np.float64)
        sides = (x1,) if alone else (x1, x2)
        methods = {"w": method}
        plan = planned(f, params, *sides, kernel=kernel, methods=methods)
        found = plan.compile()(params, *sides)
    assert is_joined(plan)
    wanted = dense_kernel(f, params, *sides, kernel=kernel)
    assert relative_error(found, wanted) < 1e-12


@pytest.mark.parametrize(
    "options",
    [
        {"methods": {"w": METHOD, "b": STRUCTURED}},
        {"methods": {"w": STRUCTURED, "b": METHOD}},
        {"methods": {"b": "ntk_vector_products"}},
        {"device": "nvidia_h100"},
    ],
    ids=["structured", "by Jacobians", "pushed", "device"],
)
def test_what_is_asked_for_otherwise_stays_apart(options):
    """A GPU's products want lengths that are multiples of four, or of sixteen."""
    f, params, x1, _ = problem(3, 3, 3, 4)
    plan = planned(f, params, x1, **options)
    assert not is_joined(plan)
    error = relative_error(plan.compile()(params, x1), dense_kernel(f, params, x1))
    assert error < 1e-5


@pytest.mark.parametrize(
    "case",
    [
        {"shape": (3, 3, 3, 4), "bias": (1,)},
        {"shape": (3, 3, 3, 4), "bias": (4, 4)},
        {"shape": (3, 3, 1, 6), "feature_group_count": 3},
        {"shape": (1, 1, 3, 4)},
    ],
    ids=["of all features", "of columns of positions", "grouped", "entries"],
)
def test_what_is_no_bias_stays_apart(case):
    case = dict(case)
    f, params, x1, x2 = problem(*case.pop("shape"), **case)
    plan = planned(f, params, x1, x2)
    assert not is_joined(plan)
    error = relative_error(
        plan.compile()(params, x1, x2), dense_kernel(f, params, x1, x2)
    )
    assert error < 1e-5


def branches(params, x):
    """Two convolutions of the same windows, one of them without a bias."""
    first = jnp.sin(convolve(x, params["w"]) + params["b"])
    second = jnp.cos(convolve(x, params["v"]) + params.get("c", 0.0))
    h = first * second
    return h.reshape(len(h), -1) @ params["head"]


@pytest.mark.parametrize("both", [True, False])
def test_windows_that_others_need_are_cut_once(both):
    draw = drawing()
    params = {name: draw(3, 3, 3, 4) for name in "wv"}
    params |= {"b": draw(4), "head": draw(80, 2)} | ({"c": draw(4)} if both else {})
    x = draw(3, 5, 4, 3)
    plan = planned(branches, params, x, methods={"w": METHOD, "v": METHOD})
    assert is_joined(plan) is both
    assert not both or is_joined(plan, "c", "v")
    error = relative_error(plan.compile()(params, x), dense_kernel(branches, params, x))
    assert error < 1e-5


def of_sum(params, x):
    """One bias for two convolutions, whose values are added."""
    h = jnp.sin(convolve(x, params["w"]) + convolve(x * x, params["v"]) + params["b"])
    return h.reshape(len(h), -1) @ params["head"]


def test_one_bias_goes_with_one_weight():
    draw = drawing()
    params = {"w": draw(3, 3, 3, 4), "v": draw(2, 2, 3, 4), "b": draw(4)}
    params["head"] = draw(80, 2)
    x1, x2 = draw(3, 5, 4, 3), draw(2, 5, 4, 3)
    methods = {"w": METHOD, "v": METHOD}
    plan = planned(of_sum, params, x1, x2, methods=methods)
    assert is_joined(plan, weight="v" if "with v" in record_of(plan, "b").why else "w")
    source = plan.source()
    assert {"def windows(", "def windows_and_one(", "def window_pieces("} <= {
        line[: line.index("(") + 1] for line in source.splitlines() if "def " in line
    }
    error = relative_error(
        plan.compile()(params, x1, x2), dense_kernel(of_sum, params, x1, x2)
    )
    assert error < 1e-5


def test_joined_in_tiles():
    f, params, x1, x2 = problem(3, 3, 3, 4)
    x1, x2 = np.concatenate([x1] * 8), np.concatenate([x2] * 8)
    whole = planned(f, params, x1, x2)
    plan = planned(f, params, x1, x2, memory_limit=whole.cost.peak_bytes / 2)
    assert is_joined(plan)
    assert "tile" in str(plan)
    error = relative_error(
        plan.compile()(params, x1, x2), dense_kernel(f, params, x1, x2)
    )
    assert error < 1e-5


def test_half_precision_sums_in_single():
    f, params, x1, x2 = problem(3, 3, 3, 4)
    params, x1, x2 = (
        {name: jnp.asarray(leaf, jnp.bfloat16) for name, leaf in params.items()},
        jnp.asarray(x1, jnp.bfloat16),
        jnp.asarray(x2, jnp.bfloat16),
    )
    plan = planned(f, params, x1, x2)
    assert is_joined(plan)
    wanted = dense_kernel(f, *cast_floats((params, x1, x2), np.float32))
    assert relative_error(plan.compile()(params, x1, x2), wanted) < 0.05


def pooled(params, x):
    """A convolution before a mean: the taps may stand behind it, see the slopes."""
    h = jnp.tanh(convolve(x, params["w"]) + params["b"])
    return h.mean((1, 2)) @ params["head"]


@pytest.mark.parametrize("kernel", ["full", "trace"])
def test_a_bias_before_a_mean(kernel):
    """Its Jacobian is the sum of slopes over positions, times that of the mean."""
    draw = drawing()
    params = {"w": draw(3, 3, 3, 4), "b": draw(4), "head": draw(4, 7)}
    x1, x2 = draw(6, 8, 8, 3), draw(5, 8, 8, 3)
    with x64():
        params, x1, x2 = cast_floats((params, x1, x2), np.float64)
        plan = planned(pooled, params, x1, x2, kernel=kernel, methods=STRUCTURED)
        found = plan.compile()(params, x1, x2)
    assert "tapped later" in record_of(plan, "w").order
    assert is_joined(plan)
    wanted = dense_kernel(pooled, params, x1, x2, kernel=kernel)
    assert relative_error(found, wanted) < 1e-12


def scaled(params, x):
    """Weights are divided by the root of how many meet, as theory has it."""
    h = x
    for w, b in zip(params["w"], params["b"], strict=True):
        h = jnp.sin(convolve(h, w) / math.sqrt(w[..., 0].size) - 0.3 * b)
    return h.reshape(len(h), -1) @ params["head"]


def scaled_problem():
    draw = drawing()
    params = {"w": [draw(3, 3, 3, 4), draw(2, 2, 4, 4)], "b": [draw(4), draw(4)]}
    params["head"] = draw(80, 2)
    return params, draw(3, 5, 4, 3), draw(2, 5, 4, 3)


@pytest.mark.parametrize("method", [METHOD, STRUCTURED])
@pytest.mark.parametrize("kernel", ["full", "trace"])
def test_biases_that_are_scaled_otherwise(kernel, method):
    params, x1, x2 = scaled_problem()
    with x64():
        params, x1, x2 = cast_floats((params, x1, x2), np.float64)
        plan = planned(scaled, params, x1, x2, kernel=kernel, methods={"w/*": method})
        found = plan.compile()(params, x1, x2)
    assert is_joined(plan, "b/0", "w/0")
    assert is_joined(plan, "b/1", "w/1")
    wanted = dense_kernel(scaled, params, x1, x2, kernel=kernel)
    assert relative_error(found, wanted) < 1e-12


def test_sixteen_bits_hold_some_scales_and_others_stay_apart():
    """The second weight is divided by 4, so that a few bits are enough."""
    params, x1, _ = scaled_problem()
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), params)
    x1 = jnp.asarray(x1, jnp.bfloat16)
    plan = planned(scaled, params, x1, methods={"w/*": METHOD})
    joined = {
        path: "as a weight" in record_of(plan, path).why for path in ("b/0", "b/1")
    }
    assert joined == {"b/0": False, "b/1": True}
    wanted = dense_kernel(scaled, *cast_floats((params, x1), np.float32))
    assert relative_error(plan.compile()(params, x1), wanted) < 0.05


def muted(params, x):
    """A weight that is scaled by nothing: what it adds to the kernel is zero."""
    h = jnp.sin(0.0 * convolve(x, params["w"]) + params["b"])
    return h.reshape(len(h), -1) @ params["head"]


def test_a_bias_beside_nothing_stays_apart():
    _, params, x1, _ = problem(3, 3, 3, 4)
    plan = planned(muted, params, x1)
    assert not is_joined(plan)
    error = relative_error(plan.compile()(params, x1), dense_kernel(muted, params, x1))
    assert error < 1e-5


def repeated(params, x):
    """One convolution, used twice."""
    for _ in range(2):
        x = jnp.sin(convolve(x, params["w"]) + params["b"])
    return x.reshape(len(x), -1) @ params["head"]


@pytest.mark.parametrize("method", [METHOD, STRUCTURED])
def test_a_bias_used_as_often_as_its_weight(method):
    draw = drawing()
    params = {"w": draw(3, 3, 3, 3), "b": draw(3), "head": draw(60, 2)}
    x1, x2 = draw(3, 5, 4, 3), draw(2, 5, 4, 3)
    plan = planned(repeated, params, x1, x2, methods={"w": method})
    assert is_joined(plan)
    error = relative_error(
        plan.compile()(params, x1, x2), dense_kernel(repeated, params, x1, x2)
    )
    assert error < 1e-5
