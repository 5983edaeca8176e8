"""A kernel is plain JAX: jitted, mapped over parameters, differentiated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.cases import problem
from tests.end_to_end.matrix import METHODS, inputs, methods_option
from tests.oracles import leaf_names, relative_error, x64

# Smooth models: a finite difference across the kink of a ReLU says nothing.
CELLS = (
    *(("plain_mlp_matrix_output", method) for method in METHODS),
    ("plain_tied_autoencoder", "chosen"),
    ("plain_cnn_same_strided", "structured_derivatives"),
    ("plain_stacked_layers", "jacobian_contraction"),
)
# A fourth-order stencil: its error is far below that of the comparison.
STENCIL = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
STEP = 1e-3


def compiled(name, params, x1, x2, method, kernel="full"):
    """Returns the kernel function that ntkplan makes for a model."""
    methods = methods_option(method, leaf_names(params))
    f = problem(name)[0]
    return ntkplan.plan(f, params, x1, x2, kernel=kernel, methods=methods).compile()


@pytest.mark.parametrize("examples", ["symmetric", "cross"])
@pytest.mark.parametrize("method", METHODS)
def test_jit(method, examples):
    name = "plain_mlp_matrix_output"
    params, x1, x2 = inputs(name, examples, "float32")
    kernel = compiled(name, params, x1, x2, method)
    jitted = jax.jit(lambda params, x1, x2: 2.0 * kernel(params, x1, x2))
    got = jitted(params, x1, x2)
    assert relative_error(got, 2.0 * kernel(params, x1, x2)) < 1e-6


@pytest.mark.parametrize(("name", "method"), CELLS)
def test_vmap_over_parameters(name, method):
    params, x1, x2 = inputs(name, "cross", "float32")
    kernel = compiled(name, params, x1, x2, method, kernel="trace")
    others = jax.tree.map(lambda leaf: 0.9 * leaf + 0.01, params)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), params, others)
    got = jax.vmap(kernel, in_axes=(0, None, None))(stacked, x1, x2)
    each = [kernel(params, x1, x2), kernel(others, x1, x2)]
    assert relative_error(got, np.stack(each)) < 1e-5
    assert relative_error(each[0], each[1]) > 1e-3


@pytest.mark.thinned(3)
@pytest.mark.parametrize("examples", ["symmetric", "cross"])
@pytest.mark.parametrize(("name", "method"), CELLS)
def test_grad_is_that_of_finite_differences(name, method, examples):
    """With respect to params, x1 and x2 at once, along a random direction."""
    check_grad(name, method, examples)


@pytest.mark.slow
def test_grad_through_a_transformer():
    check_grad("plain_transformer_encoder", "mixed", "cross")


def check_grad(name, method, examples):
    """Compares the slope along one direction with that of a finite difference."""
    point = inputs(name, examples, "float64")
    rng = np.random.default_rng(8)
    size = sum(leaf.size for leaf in jax.tree.leaves(point))
    direction = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape) / np.sqrt(size), point
    )
    with x64():
        kernel = compiled(name, *point, method, kernel="trace")
        weights = rng.normal(size=kernel(*point).shape)

        @jax.jit
        def loss(point):
            return jnp.sum(weights * kernel(*point))

        def moved(step):
            return jax.tree.map(lambda at, along: at + step * along, point, direction)

        slopes = jax.tree.map(jnp.vdot, jax.grad(loss)(point), direction)
        by_part = [float(sum(jax.tree.leaves(part))) for part in slopes]
        terms = [weight * loss(moved(n * STEP)) for n, weight in STENCIL.items()]
        wanted = float(sum(terms)) / STEP
    assert abs(sum(by_part) - wanted) < 1e-8 * max(abs(part) for part in by_part)
    assert by_part[0] != 0.0
    assert by_part[1] != 0.0


def test_numbers_of_examples_are_free_when_it_runs():
    name = "plain_mlp_matrix_output"
    params, x1, x2 = inputs(name, "cross", "float32")
    kernel = compiled(name, params, x1, x2, "chosen")
    every = np.asarray(kernel(params, np.concatenate([x1, x2]), x1))
    assert every.shape[:2] == (len(x1) + len(x2), len(x1))
    assert relative_error(every[len(x1) :], kernel(params, x2, x1)) < 1e-5


def test_symmetric_kernel_is_symmetric():
    name = "plain_cnn_same_flatten"
    params, x1, _ = inputs(name, "symmetric", "float32")
    kernel = compiled(name, params, x1, None, "structured_derivatives")
    got = np.asarray(kernel(params, x1))
    assert relative_error(got, got.transpose(1, 0, 3, 2)) < 1e-6


def test_python_scalars_of_params_keep_their_place():
    """A leaf that is a Python float is a leaf like others."""

    def f(params, x):
        return jnp.tanh(x @ params["w"]) * params["scale"]

    params = {"w": jnp.ones((3, 2)), "scale": 2.0}
    x = jnp.arange(6.0).reshape(2, 3) / 6
    got = ntkplan.ntk(f, params, x, kernel="trace")
    as_array = {"w": params["w"], "scale": jnp.array(2.0)}
    assert relative_error(got, ntkplan.ntk(f, as_array, x, kernel="trace")) < 1e-6
