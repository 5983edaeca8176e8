"""Convolutions in loops on a CPU: all of them are what a library takes."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from tests.draws import drawing
from tests.oracles import dense_kernel, relative_error

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
CHANNELS_FIRST = ("NCHW", "OIHW", "NCHW")
ODD = ("NHWC", "OIHW", "NCHW")


def network(axes, strides, padding):
    """Two convolutions and a readout."""
    spatial = tuple(axes[2].index(letter) for letter in "HW")

    def convolution(x, kernel):
        moved = lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=axes
        )
        return jnp.tanh(moved)

    def f(params, x):
        x = convolution(x, params["first"])
        x = jnp.moveaxis(x, axes[2].index("C"), axes[0].index("C"))
        return jnp.mean(convolution(x, params["second"]), spatial) @ params["head"]

    return f


def arrays(axes, n):
    draw = drawing()
    kernels = {"first": draw(3, 3, 2, 5), "second": draw(3, 3, 5, 5)}
    order = [("HWIO").index(letter) for letter in axes[1]]
    params = {name: kernel.transpose(order) for name, kernel in kernels.items()}
    x = draw(n, 8, 8, 2).transpose(["NHWC".index(letter) for letter in axes[0]])
    return {**params, "head": draw(5, 3)}, x


def in_loops(text):
    """Returns the axes of all convolutions outside of the program's entry."""
    before, _, entry = text.partition("\nENTRY ")
    after = entry.partition("\n}")[2]
    return re.findall(r" convolution\(.*dim_labels=([\w>-]+)", before + after)


def tiled_plan(f, params, x, **options):
    whole = ntkplan.plan(f, params, x, device="cpu", **options)
    limit = 0.5 * whole.cost.peak_bytes
    plan = ntkplan.plan(f, params, x, device="cpu", memory_limit=limit, **options)
    assert any(note.startswith("in tiles of") for note in plan.notes)
    return plan


_UNLIKE = (2, 1), [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("axes", "strides", "padding"),
    [
        (CHANNELS_LAST, (1, 1), "SAME"),
        (CHANNELS_FIRST, *_UNLIKE),
        pytest.param(CHANNELS_LAST, *_UNLIKE, marks=pytest.mark.slow),
        pytest.param(CHANNELS_FIRST, (1, 1), "SAME", marks=pytest.mark.slow),
        pytest.param(ODD, (1, 1), "SAME", marks=pytest.mark.slow),
        pytest.param(ODD, *_UNLIKE, marks=pytest.mark.slow),
    ],
)
def test_convolutions_over_tiles(axes, strides, padding):
    f, (params, x) = network(axes, strides, padding), arrays(axes, 8)
    plan = tiled_plan(f, params, x, methods="jacobian_contraction")
    kernel = plan.compile()
    assert relative_error(kernel(params, x), dense_kernel(f, params, x)) < 2e-5
    found = in_loops(kernel.lower(params, x).compile().as_text())
    assert len(found) > 2
    assert set(found) == {"b01f_01io->b01f"}


def test_kernels_over_tiles_have_gradients():
    f, (params, x) = network(CHANNELS_LAST, (1, 1), "SAME"), arrays(CHANNELS_LAST, 8)
    kernel = tiled_plan(f, params, x, methods="jacobian_contraction").compile()

    def by_kernel(params):
        return jnp.sum(jnp.sin(kernel(params, x)))

    def by_hand(params):
        jacobians = jax.jacrev(f)(params, x)
        rows = [leaf.reshape(8, 3, -1) for leaf in jax.tree.leaves(jacobians)]
        return jnp.sum(jnp.sin(sum(jnp.einsum("noz,mpz->nmop", r, r) for r in rows)))

    found, wanted = (jax.grad(each)(params) for each in (by_kernel, by_hand))
    for name in params:
        assert relative_error(found[name], np.asarray(wanted[name])) < 1e-4


def test_convolutions_in_a_model_s_own_loop():
    draw = drawing()
    params = {"blocks": draw(4, 3, 3, 2, 2), "head": draw(2, 3)}
    x = draw(3, 6, 6, 2)

    def f(params, x):
        def block(x, kernel):
            moved = lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST
            )
            return jnp.tanh(moved), None

        x, _ = lax.scan(block, x, params["blocks"])
        return jnp.mean(x, (1, 2)) @ params["head"]

    plan = ntkplan.plan(f, params, x, device="cpu", methods="structured_derivatives")
    kernel = plan.compile()
    assert relative_error(kernel(params, x), dense_kernel(f, params, x)) < 2e-5
    found = in_loops(kernel.lower(params, x).compile().as_text())
    assert found
    assert set(found) == {"b01f_01io->b01f"}


def test_what_is_pushed_forward_stays_differentiable_forward():
    f, (params, x) = network(CHANNELS_LAST, (1, 1), "SAME"), arrays(CHANNELS_LAST, 8)
    methods = {"first": "ntk_vector_products", "*": "jacobian_contraction"}
    plan = tiled_plan(f, params, x, methods=methods)
    found = plan.compile()(params, x)
    assert relative_error(found, dense_kernel(f, params, x)) < 2e-5
