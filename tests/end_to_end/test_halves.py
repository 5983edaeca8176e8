"""Symmetric kernels of which about half is computed."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.planner import tiling
from tests.emit.formatter import formatted
from tests.end_to_end.test_tiles import (
    KERNELS,
    dense,
    inputs,
    planned,
)
from tests.oracles import x64


@pytest.fixture(params=(2, 3, 4))
def in_blocks(request, monkeypatch):
    """Has every kernel without x2 computed in blocks, whether that pays or not."""

    def halved(problem, decision, limit_bytes):
        if not problem.symmetric:
            return decision
        return dataclasses.replace(decision, lower_blocks=request.param)

    monkeypatch.setattr(tiling, "halved", halved)
    return request.param


@pytest.mark.thinned(3)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("methods", ["chosen", "mixed"])
def test_blocks_and_their_mirror_images(kernel, methods, in_blocks):
    params, x1, x2 = inputs()
    with x64():
        plan = planned(kernel, methods, False, None)
        assert f"{in_blocks} blocks of rows" in str(plan)
        compute = plan.compile()
        got = np.asarray(compute(params, x1))
        np.testing.assert_allclose(got, dense(kernel, False), rtol=1e-9)
        axes = (1, 0, 3, 2) if kernel == "full" else (1, 0, 2)[: got.ndim]
        if methods == "chosen":
            # Blocks are mirrored, but a block on the diagonal is computed as a whole.
            rounding = 1e-14 * np.abs(got).max()
            mirrored = got.transpose(axes)
            np.testing.assert_allclose(got, mirrored, rtol=0, atol=rounding)
        crossed = compute(params, x1, x2)
        np.testing.assert_allclose(crossed, dense(kernel, True), rtol=1e-9)
        few = compute(params, x1[:1])
        np.testing.assert_allclose(few, dense(kernel, False)[:1, :1], rtol=1e-9)


def perceptron(params, x):
    hidden = jnp.tanh(jnp.tanh(x @ params["first"]) @ params["second"])
    return hidden @ params["head"]


def test_blocks_are_chosen_where_contractions_are_most_of_the_work():
    """And not where there are two batches, or pairs alone."""
    shapes = {"first": (64, 512), "second": (512, 512), "head": (512, 100)}
    params = {
        name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()
    }
    x = jax.ShapeDtypeStruct((16, 64), np.float32)

    def blocks(*others, **options):
        plan = ntkplan.plan(
            perceptron, params, x, *others, methods="structured_derivatives", **options
        )
        return "blocks of rows" in str(plan)

    assert blocks()
    source = ntkplan.plan(perceptron, params, x, methods="structured_derivatives")
    assert formatted(source.source()) == source.source()
    assert not blocks(x)
    assert not blocks(pairs="matched")
