"""A table that is looked up and multiplied by: each pair of uses in its own order."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import KERNELS, dense_kernel, relative_error, x64

VOCABULARY, WIDTH, LENGTH = 50, 4, 3
ORDER = "each pair in its own order"


def tied(params, tokens):
    """All logits, or those of a few tokens, of the mean of what was looked up."""
    h = jnp.tanh(params["table"][tokens] @ params["w"]).mean(1)
    return h @ params["table"][jnp.array([7, 7, 30])].T


def scored(params, tokens):
    return jnp.tanh(params["table"][tokens] @ params["w"]).sum(1) @ params["table"].T


def problem():
    generator = np.random.default_rng(0)
    params = {
        "table": generator.normal(size=(VOCABULARY, WIDTH)),
        "w": generator.normal(size=(WIDTH, WIDTH)),
    }
    x1 = generator.integers(VOCABULARY, size=(4, LENGTH))
    x2 = np.concatenate(
        [x1[:1, ::-1], generator.integers(VOCABULARY, size=(2, LENGTH))]
    )
    return params, x1, x2


def table(plan):
    return next(layer for layer in plan.layers if layer.path == "table")


@pytest.mark.thinned(3)
@pytest.mark.parametrize("with_x2", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("f", [tied, scored])
def test_the_kernel_is_that_of_the_dense_jacobian(f, kernel, with_x2):
    params, x1, x2 = problem()
    x2 = x2 if with_x2 else None
    with x64():
        plan = ntkplan.plan(
            f, params, x1, x2, kernel=kernel, methods="structured_derivatives"
        )
        assert ORDER in {item.order for item in table(plan).alternatives}
        found = plan.compile()(params, x1, x2)
        expected = dense_kernel(f, params, x1, x2, kernel=kernel)
    # Of a single number for two examples every order costs about the same.
    assert table(plan).order == ORDER or kernel == "sum_of_logits"
    assert relative_error(found, expected) < 1e-10


def test_no_row_is_spread_out_that_is_not_looked_up():
    """Nothing of the kernel's memory grows with the table."""
    params, x1, _ = problem()
    peaks = []
    for rows in (10_000, 20_000):
        large = {**params, "table": np.zeros((rows, WIDTH), np.float32)}
        plan = ntkplan.plan(tied, large, x1)
        assert table(plan).order == ORDER
        peaks.append(table(plan).chosen.peak_bytes)
    vectors = 4 * 4 * 3  # of the head's cotangents, summed up by row
    assert peaks[1] - peaks[0] <= 2 * vectors * 10_000
