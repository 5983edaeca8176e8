"""The trace kernel from random signs: no bias, and an honest standard error."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import ConflictingOptionsError, InvalidSizeError, OutputError
from tests.oracles import dense_kernel, relative_error


def model(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def problem(n_outputs=6):
    keys = jax.random.split(jax.random.key(3), 4)
    params = {
        "w": jax.random.normal(keys[0], (4, 5)),
        "b": jax.random.normal(keys[1], (5,)),
        "v": jax.random.normal(keys[2], (5, n_outputs)),
    }
    return params, jax.random.normal(keys[3], (4, 4))


def test_many_samples_come_close_to_the_trace():
    """All sign vectors of three outputs, each once, give the trace itself."""
    params, x = problem(n_outputs=3)
    wanted = dense_kernel(model, params, x, kernel="trace")
    found = ntkplan.trace_estimate(
        model, params, x, key=jax.random.key(0), n_samples=1000
    )
    deviation = np.abs(found.kernel - wanted) / found.standard_error
    assert np.max(deviation) < 5
    assert relative_error(found.kernel, wanted) < 0.2


def test_the_estimate_has_no_bias_and_its_standard_error_is_right():
    """Over many seeds: the mean is the trace, deviations are as large as said."""
    params, x = problem()
    x1, x2 = x, x[:3] + 0.5
    wanted = dense_kernel(model, params, x1, x2, kernel="trace")
    n_seeds, n_samples = 20, 24
    found = [
        ntkplan.trace_estimate(
            model, params, x1, x2, key=jax.random.key(seed), n_samples=n_samples
        )
        for seed in range(n_seeds)
    ]
    errors = np.stack([item.kernel - wanted for item in found])
    stated = np.stack([item.standard_error for item in found])
    spread = errors.std(0, ddof=1)
    assert np.all(np.abs(errors.mean(0)) < 4.5 * spread / np.sqrt(n_seeds))
    # The spread over seeds is what the standard error says, up to its own noise.
    ratio = np.sqrt((stated**2).mean(0)) / spread
    assert np.all((ratio > 0.55) & (ratio < 1.8))
    inside = np.abs(errors) < 2 * stated
    assert 0.7 < inside.mean() <= 1.0


def test_one_output_has_no_error():
    params, x = problem(n_outputs=1)
    found = ntkplan.trace_estimate(model, params, x, key=jax.random.key(0), n_samples=3)
    assert (
        relative_error(found.kernel, dense_kernel(model, params, x)[..., 0, 0]) < 2e-5
    )
    assert np.max(found.standard_error) < 1e-5 * np.max(found.kernel)


@pytest.mark.parametrize(
    ("options", "wrt"),
    [
        ({"pairs": "matched"}, None),
        ({"methods": {"w": "jacobian_contraction"}}, None),
        ({}, lambda path, leaf: path != "v"),
    ],
    ids=["matched", "methods", "wrt"],
)
def test_options_of_plan_hold(options, wrt):
    params, x = problem()
    pairs = options.get("pairs", "all")
    wanted = dense_kernel(model, params, x, kernel="trace", pairs=pairs, wrt=wrt)
    found = ntkplan.trace_estimate(
        model, params, x, key=jax.random.key(1), n_samples=400, wrt=wrt, **options
    )
    assert np.all(np.abs(found.kernel - wanted) < 5 * found.standard_error)


def test_several_output_axes_are_one():
    params, x = problem()
    f = lambda params, x: model(params, x).reshape(-1, 2, 3)  # noqa: E731
    one = ntkplan.trace_estimate(model, params, x, key=jax.random.key(0), n_samples=2)
    two = ntkplan.trace_estimate(f, params, x, key=jax.random.key(0), n_samples=2)
    assert two.kernel.shape == one.kernel.shape


def test_what_makes_no_sense_is_refused():
    params, x = problem()
    key = jax.random.key(0)
    with pytest.raises(InvalidSizeError, match="at least 2"):
        ntkplan.trace_estimate(model, params, x, key=key, n_samples=1)
    with pytest.raises(
        ConflictingOptionsError, match="trace_estimate was given kernel"
    ):
        ntkplan.trace_estimate(model, params, x, key=key, kernel="full")
    with pytest.raises(OutputError, match="one array is estimated"):
        ntkplan.trace_estimate(lambda p, x: {"a": model(p, x)}, params, x, key=key)
