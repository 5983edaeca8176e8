"""Parts of a model that are alike are functions, whatever is asked of the kernel."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error

EQUAL = (4, 4, 4, 4, 4)
UNEQUAL = (4, 5, 6, 5, 3)
X1 = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
X2 = np.random.default_rng(2).normal(size=(2, 4)).astype(np.float32)


def blocks(widths):
    generator = np.random.default_rng(0)

    def new(*shape):
        return generator.normal(size=shape).astype(np.float32) * shape[-2] ** -0.5

    return {
        "blocks": [
            {"weight": new(1, n, m), "scale": new(1, 1, m), "shift": new(1, m)[0]}
            for n, m in itertools.pairwise(widths)
        ]
    }


def model(params, x):
    for block in params["blocks"]:
        x = jnp.tanh(x @ block["weight"][0])
        x = x * block["scale"][0, 0] + jnp.sin(block["shift"])
        x = jax.nn.relu(x) + 0.1 * x
    return x


_PUSHED = "ntk_vector_products"


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("widths", "options"),
    [
        pytest.param(EQUAL, {}, id="default"),
        pytest.param(EQUAL, {"methods": _PUSHED}, id="pushed"),
        pytest.param(
            EQUAL,
            {"methods": "jacobian_contraction", "memory_limit": "24KiB"},
            id="tiled",
        ),
        pytest.param(
            EQUAL, {"methods": {"blocks/2/*": "jacobian_contraction"}}, id="one_differs"
        ),
        pytest.param(EQUAL, {"kernel": "trace"}, id="trace"),
        pytest.param(
            EQUAL, {"wrt": lambda path, leaf: path.endswith("shift")}, id="shifts_only"
        ),
        pytest.param(UNEQUAL, {"methods": _PUSHED}, id="unequal_pushed"),
        pytest.param(
            UNEQUAL, {"methods": {"blocks/*/weight": _PUSHED}}, id="unequal_mixed"
        ),
    ],
)
def test_kernel_of_parts_is_the_dense_one(widths, options):
    params = blocks(widths)
    asked = {k: v for k, v in options.items() if k in ("kernel", "wrt")}
    plan = ntkplan.plan(model, params, X1, X2, **options)
    kernel = plan.compile()
    for other in (X2, None):
        wanted = dense_kernel(model, params, X1, other, **asked)
        assert relative_error(kernel(params, X1, other), wanted) < 2e-6


@pytest.mark.parametrize("methods", ["structured_derivatives", "ntk_vector_products"])
def test_equal_parts_are_one_function_in_a_loop(methods):
    source = ntkplan.plan(model, blocks(EQUAL), X1, methods=methods).source()
    assert source.count("def block(") == 1
    assert "def block_1(" not in source
    assert source.count("for i in range(4):") >= 1


def test_parts_of_other_shapes_are_one_function_in_a_loop():
    source = ntkplan.plan(
        model, blocks(UNEQUAL), X1, methods="ntk_vector_products"
    ).source()
    assert source.count("def block(") == 1
    assert "def block_1(" not in source
    assert "for i in range(4):" in source


def strided(params, x):
    """Blocks of convolutions whose strides differ, one of which has a skip."""
    layouts = ("NWC", "WIO", "NWC")
    x = jnp.repeat(x[:, :, None], 4, axis=1)
    for place, block in enumerate(params["blocks"]):
        strides = (2,) if place == 1 else (1,)
        for layer in block["layers"]:
            x = jax.lax.conv_general_dilated(
                x, layer["w"], strides, "SAME", dimension_numbers=layouts
            )
            x = jnp.tanh(x * layer["scale"] + layer["shift"])
    return x.mean(1)


def strided_params():
    generator = np.random.default_rng(3)

    def new(*shape):
        return (generator.normal(size=shape) * 0.5).astype(np.float32)

    widths = (1, 2, 2, 2, 2)
    return {
        "blocks": [
            {
                "layers": [
                    {"w": new(3, n, m), "scale": new(m), "shift": new(m)},
                    {"w": new(1, m, m), "scale": new(m), "shift": new(m)},
                ]
            }
            for n, m in itertools.pairwise(widths)
        ]
    }


def test_strides_are_arguments_of_parts_that_are_else_alike():
    params = strided_params()
    plan = ntkplan.plan(strided, params, X1, X2, methods="structured_derivatives")
    source = plan.source()
    assert source.count("def block(") == 1
    assert "def block_1(" not in source
    assert "strides=(1,)" in source and "strides=(2,)" in source
    wanted = dense_kernel(strided, params, X1, X2)
    assert relative_error(plan.compile()(params, X1, X2), wanted) < 2e-6


def test_few_steps_are_no_function():
    def shallow(params, x):
        for weight in params:
            x = jnp.tanh(x @ weight["w"])
        return x

    params = [{"w": np.eye(4, dtype=np.float32)} for _ in range(3)]
    source = ntkplan.plan(shallow, params, X1).source()
    assert "def layer(" not in source


@pytest.mark.parametrize("methods", [None, "ntk_vector_products"])
def test_checkpointed_blocks_are_one_function(methods):
    @jax.checkpoint
    def block(params, x):
        hidden = jax.nn.gelu(x @ params["weight"][0])
        return x + hidden * params["scale"][0, 0] + params["shift"]

    def checkpointed(params, x):
        for each in params["blocks"]:
            x = block(each, x)
        return x

    params = blocks(EQUAL)
    plan = ntkplan.plan(checkpointed, params, X1, X2, methods=methods)
    source = plan.source()
    assert source.count("jax.nn.gelu(") == source.count("jax.checkpoint(") == 1
    wanted = dense_kernel(checkpointed, params, X1, X2)
    assert relative_error(plan.compile()(params, X1, X2), wanted) < 2e-6
