"""The oracles against kernels derived by hand; the models against what they claim."""

from __future__ import annotations

import fnmatch

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracles
from tests.cases import CASES, N1, leaf_jacobians, problem
from tests.models.reference import MODELS
from tests.reference_kernels import reference

NAMES = [case.name for case in CASES]


def linear(params, x):
    return x @ params["w"] + params["b"]


@pytest.fixture
def linear_problem():
    rng = np.random.default_rng(3)
    params = {"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}
    return params, rng.normal(size=(4, 5)), rng.normal(size=(2, 5))


@pytest.mark.parametrize("cross", [False, True])
def test_kernels_of_a_linear_model_are_those_derived_by_hand(linear_problem, cross):
    params, x1, x2 = linear_problem
    x2 = x2 if cross else None
    gram = x1 @ (x1 if x2 is None else x2).T + 1.0  # the one is the bias's
    wanted = {
        "full": gram[:, :, None, None] * np.eye(3),
        "trace": gram,
        "diagonal": gram[:, :, None] * np.ones(3),
        "sum_of_logits": gram,
    }
    for kernel in oracles.KERNELS:
        got = oracles.dense_kernel(linear, params, x1, x2, kernel=kernel)
        assert oracles.relative_error(got, wanted[kernel]) < 1e-15, kernel


def test_sum_of_logits_counts_pairs_of_different_outputs():
    """Two outputs that are the same number: Theta_op is the same for every o, p."""
    x = np.array([[2.0], [3.0]])
    params = {"w": np.array([0.5])}

    def f(params, x):
        return jnp.concatenate([x * params["w"], x * params["w"]], axis=1)

    got = oracles.dense_kernel(f, params, x, kernel="sum_of_logits")
    assert oracles.relative_error(got, 2.0 * x @ x.T) < 1e-15
    got = oracles.dense_kernel(f, params, x, kernel="trace")
    assert oracles.relative_error(got, x @ x.T) < 1e-15


def test_matched_pairs_are_the_diagonal_over_examples(linear_problem):
    params, x1, _ = linear_problem
    other = x1[::-1]
    every = oracles.dense_kernel(linear, params, x1, other)
    got = oracles.dense_kernel(linear, params, x1, other, pairs="matched")
    wanted = every[np.arange(4), np.arange(4)]
    assert got.shape == (4, 3, 3)
    assert oracles.relative_error(got, wanted) < 1e-15


def test_wrt_leaves_out_what_it_is_told_to(linear_problem):
    params, x1, x2 = linear_problem
    got = oracles.dense_kernel(
        linear, params, x1, x2, kernel="trace", wrt=lambda name, leaf: name == "w"
    )
    assert oracles.relative_error(got, x1 @ x2.T) < 1e-15


def test_integer_leaves_and_examples_stay_integers():
    table = np.arange(8.0).reshape(4, 2)
    params = {"table": table, "shift": np.array(1)}
    tokens = np.array([[0, 2], [1, 1]])

    def f(params, x):
        assert jnp.issubdtype(params["shift"].dtype, jnp.integer)
        return params["table"][x + params["shift"]].sum(axis=1)

    got = oracles.dense_kernel(f, params, tokens, kernel="trace")
    assert got.tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_relative_error_broadcasts_nothing_and_sees_nan():
    assert oracles.relative_error([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert oracles.relative_error([1.0, np.nan], [1.0, 2.0]) == np.inf
    with pytest.raises(AssertionError, match="shape"):
        oracles.relative_error([[1.0]], [1.0])


@pytest.mark.parametrize("name", MODELS)
def test_axes_mean_what_users_of_neural_tangents_know(name):
    stored = reference(name)
    jacobian1 = oracles.dense_jacobian(MODELS[name], stored.params, stored.x1)
    jacobian2 = oracles.dense_jacobian(MODELS[name], stored.params, stored.x2)
    assert stored.kernels
    for (trace_axes, diagonal_axes, which), wanted in stored.kernels.items():
        got = oracles.kernel_of_jacobians(
            jacobian1,
            jacobian1 if which == "self" else jacobian2,
            trace_axes=trace_axes,
            diagonal_axes=diagonal_axes,
        )
        assert oracles.relative_error(got, wanted) < 1e-12


def test_names_of_cases_are_unique():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_leaf_but_the_idle_ones_matters(case):
    found = leaf_jacobians(case.name)
    largest = max(np.abs(jacobian).max() for jacobian in found.values())
    idle = {
        name
        for name, jacobian in found.items()
        if np.abs(jacobian).max() < 1e-6 * largest
    }
    claimed = {
        name for name in found for glob in case.idle if fnmatch.fnmatch(name, glob)
    }
    assert idle == claimed
    assert all(np.isfinite(jacobian).all() for jacobian in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_a_model_are_independent(name):
    """Each of the examples moved to the front, the others replaced by it."""
    f, params, x1, _ = problem(name)
    f = jax.jit(f)
    together = np.asarray(f(params, x1))
    assert together.shape[0] == N1
    assert together.dtype == np.float32
    for row in range(N1):
        rows = np.full(N1, row)
        alone = f(params, jax.tree.map(lambda leaf, rows=rows: leaf[rows], x1))
        error = np.abs(np.asarray(alone)[0] - together[row]).max()
        assert error < 1e-5 * np.abs(together).max()
