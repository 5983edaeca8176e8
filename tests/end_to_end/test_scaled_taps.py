"""Weights and biases that are scaled before they are added share one tap."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers
from tests.draws import drawing
from tests.oracles import cast_floats, dense_kernel, relative_error, x64

JACOBIANS = "jacobian_contraction"
STRUCTURED = "structured_derivatives"
PUSHED = "ntk_vector_products"
CONSTANT = np.float32(0.7)


def by_number(params, h):
    return 0.5 * h + 0.1 * params["b"]


def by_root(params, h):
    return h / jnp.sqrt(params["w"].shape[0]) + CONSTANT * params["b"]


def by_inverse_root(params, h):
    return params["b"] - h * (2.0 / jnp.sqrt(params["w"].shape[0]))


def by_closed_over(params, h):
    return -h * jnp.asarray(CONSTANT) - params["b"]


def after_a_sum(params, h):
    return 2.0 * (0.3 * (h + 1.0)) + params["b"]


SHARING = (by_number, by_root, by_inverse_root, by_closed_over, after_a_sum)


def by_data(params, h):
    return h * h.mean(1, keepdims=True) + params["b"]


def read_twice(params, h):
    h = 0.5 * h
    return h + params["b"] + jnp.cos(h)


def by_a_vector(params, h):
    return h * jnp.arange(1.0, h.shape[-1] + 1) + params["b"]


def stretched(params, h):
    h = 0.5 * h[..., :1] + params["b"]
    return h - h.mean(1, keepdims=True) + jnp.sin(h)


def by_infinity(params, h):
    """Its derivative is no number, and nothing is said of it."""
    return h / jnp.sqrt(-1.0) + params["b"]


APART = (by_data, read_twice, by_a_vector, stretched)


def dense(layer):
    """Returns a model of one dense layer, its params, and examples of both sides."""
    draw = drawing()

    def f(params, x):
        return jnp.sin(layer(params, x @ params["w"])) @ params["head"]

    width = f_width(layer)
    params = {"w": draw(5, 4), "b": draw(width), "head": draw(width, 2)}
    return f, params, draw(3, 6, 5), draw(2, 6, 5)


def f_width(layer):
    return 1 if layer is stretched else 4


def convolutional():
    draw = drawing()

    def f(params, x):
        h = lax.conv_general_dilated(
            x, params["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        h = jnp.sin(h / np.sqrt(27) + 0.2 * params["b"])
        return h.mean((1, 2)) @ params["head"]

    params = {"w": draw(3, 3, 3, 4), "b": draw(4), "head": draw(4, 2)}
    return f, params, draw(3, 5, 4, 3), draw(2, 5, 4, 3)


def recurrent():
    draw = drawing()

    def f(params, x):
        def step(h, now):
            h = 0.5 * (h @ params["w"] + params["b"]) - 0.25 * (now @ params["input"])
            return jnp.tanh(h), None

        start = jnp.zeros((len(x), 4), x.dtype)
        return lax.scan(step, start, x.swapaxes(0, 1))[0] @ params["head"]

    params = {"w": draw(4, 4), "b": draw(4), "input": draw(3, 4), "head": draw(4, 2)}
    return f, params, draw(3, 6, 3), draw(2, 6, 3)


def euler_steps():
    """Steps of unlike length: every use of the weight is scaled otherwise."""
    draw = drawing()

    def f(params, x):
        for length in (0.1, 0.2, 0.4):
            x = x + length * jnp.tanh(x @ params["w"])
            x = x + length * (x @ params["w"])
        return x @ params["head"]

    params = {"w": draw(4, 4), "head": draw(4, 2)}
    return f, params, draw(3, 4), draw(2, 4)


PROBLEMS = {
    **{layer.__name__: dense(layer) for layer in (*SHARING, *APART)},
    "convolutional": convolutional(),
    "recurrent": recurrent(),
    "euler_steps": euler_steps(),
}


def layers_of(f, params, x):
    found = find_layers(build(f, params, x, batch_axis=0, wrt=None).graphs[""]).layers
    return {layer.leaf.path: layer for layer in found}


@pytest.mark.parametrize(
    ("kernel", "methods", "alone"),
    [
        ("full", {"*": JACOBIANS}, True),
        ("full", {"*": STRUCTURED}, False),
        ("full", {"*": PUSHED}, True),
        ("trace", {"*": JACOBIANS}, False),
        ("trace", {"*": STRUCTURED}, True),
        ("trace", {"*": PUSHED}, False),
        ("sum_of_logits", None, True),
    ],
)
@pytest.mark.parametrize("name", PROBLEMS)
def test_kernels_are_right(name, kernel, methods, alone):
    f, params, *sides = PROBLEMS[name]
    with x64():
        params, *sides = cast_floats((params, *sides[: 1 if alone else 2]), np.float64)
        plan = ntkplan.plan(f, params, *sides, kernel=kernel, methods=methods)
        found = plan.compile()(params, *sides)
    assert relative_error(found, dense_kernel(f, params, *sides, kernel=kernel)) < 1e-12


@pytest.mark.parametrize(
    "name", [*(layer.__name__ for layer in SHARING), "convolutional", "recurrent"]
)
def test_what_is_scaled_and_added_shares_a_tap(name):
    f, params, x1, _ = PROBLEMS[name]
    found = layers_of(f, params, x1)
    (tap,) = found["w"].taps
    leaves = [path for path in found if path != "head"]
    assert all(found[path].taps == (tap,) for path in leaves)


@pytest.mark.parametrize("layer", APART)
def test_others_keep_their_own(layer):
    f, params, x1, _ = PROBLEMS[layer.__name__]
    found = layers_of(f, params, x1)
    assert found["w"].taps != found["b"].taps


def test_numbers_that_are_none_are_left_alone():
    f, params, x1, _ = dense(by_infinity)
    found = layers_of(f, params, x1)
    assert found["w"].taps != found["b"].taps


def test_uses_that_are_scaled_unlike_are_stacked():
    f, params, x1, _ = PROBLEMS["euler_steps"]
    (stack,) = layers_of(f, params, x1)["w"].stacks
    assert len(stack.uses) == 6


def residual(params, x):
    """Blocks that are alike but for a number."""

    def block(params, x, scale):
        return x + scale * (jnp.tanh(x @ params["first"]) @ params["second"])

    for number, own in enumerate(params["blocks"]):
        x = block(own, x, 0.5 / (number + 1))
    return x @ params["head"]


def test_layers_that_differ_in_numbers_have_one_function():
    draw = drawing()
    blocks = [{"first": draw(4, 6), "second": draw(6, 4)} for _ in range(4)]
    params, x1, x2 = {"blocks": blocks, "head": draw(4, 2)}, draw(3, 4), draw(2, 4)
    with x64():
        params, x1, x2 = cast_floats((params, x1, x2), np.float64)
        methods = {"*": JACOBIANS}
        plan = ntkplan.plan(residual, params, x1, x2, methods=methods)
        found = plan.compile()(params, x1, x2)
    source = plan.source()
    assert source.count("(side1, side2, layer, given, factor):") == 1
    assert source.count("factor=") == len(blocks)
    assert relative_error(found, dense_kernel(residual, params, x1, x2)) < 1e-12


def test_the_parametrization_of_the_theory_contracts_cotangents_once():
    """There weights are divided by roots of widths."""
    f, params, x1, x2 = dense(by_root)
    plan = ntkplan.plan(f, params, x1[:, 0], x2[:, 0], methods={"*": STRUCTURED})
    assert plan.layers[-1].path == "w"
    assert "shares products with leaves above" in plan.layers[-1].why
