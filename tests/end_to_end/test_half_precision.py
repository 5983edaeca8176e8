"""Parameters of 16 bits: what the kernel's dtype is, and how exact it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_jacobians, kernel_of_jacobians, relative_error

RNG = np.random.default_rng(17)
WIDTH = 256
PARAMS = {
    "w": RNG.normal(size=(6, WIDTH)) / np.sqrt(6),
    "b": 0.1 * RNG.normal(size=WIDTH),
    "v": RNG.normal(size=(WIDTH, 2)) / np.sqrt(WIDTH),
}
X = RNG.normal(size=(3, 6))
HALVES = (jnp.bfloat16, jnp.float16)
METHODS = (
    "jacobian_contraction",
    "structured_derivatives",
    "ntk_vector_products",
)


def f(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def rounded(tree, dtype):
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), tree)


def wanted_kernel(params, x):
    """The oracle's kernel at the rounded numbers, computed in float64."""
    params, x = (
        jax.tree.map(lambda array: np.asarray(array, np.float64), tree)
        for tree in (params, x)
    )
    jacobian = np.concatenate(list(dense_jacobians(f, params, x).values()), axis=-1)
    return kernel_of_jacobians(jacobian, jacobian)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_kernel_is_right_to_the_precision_of_its_dtype(dtype, method):
    params, x = rounded(PARAMS, dtype), rounded(X, dtype)
    got = ntkplan.ntk(f, params, x, methods=method)
    assert got.dtype in (dtype, jnp.float32)
    error = relative_error(got, wanted_kernel(params, x))
    assert error < 4 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: dtype.__name__)
def test_one_leaf_of_32_bits_makes_the_kernel_one(dtype):
    """As in the model itself: dtypes are promoted as JAX does."""
    params = {**rounded(PARAMS, dtype), "v": jnp.asarray(PARAMS["v"], jnp.float32)}
    x = rounded(X, dtype)
    got = ntkplan.ntk(f, params, x)
    assert got.dtype == f(params, x).dtype == jnp.float32
    error = relative_error(got, wanted_kernel(params, x))
    assert error < 4 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: dtype.__name__)
def test_contractions_accumulate_in_float32(dtype):
    """What is left is the rounding of the Jacobian, not that of the sums."""
    params, x = rounded(PARAMS, dtype), rounded(X, dtype)
    jacobian = np.concatenate(
        [
            np.asarray(leaf, np.float64).reshape(3, 2, -1)
            for leaf in jax.tree.leaves(jax.jacrev(f)(params, x))
        ],
        axis=-1,
    )
    wanted = wanted_kernel(params, x)
    unavoidable = relative_error(kernel_of_jacobians(jacobian, jacobian), wanted)
    got = ntkplan.ntk(f, params, x, methods="jacobian_contraction")
    assert got.dtype == jnp.float32
    assert relative_error(got, wanted) < 1.5 * unavoidable


def test_a_file_allows_for_16_bits_inside_of_a_model(tmp_path):
    def mixed(params, x):
        hidden = jnp.tanh(x.astype(jnp.bfloat16) @ params["w"].astype(jnp.bfloat16))
        return hidden.astype(jnp.float32) @ params["v"]

    params = {name: rounded(PARAMS[name], jnp.float32) for name in ("w", "v")}
    plan = ntkplan.plan(mixed, params, jnp.asarray(X, jnp.float32))
    text = plan.save(tmp_path / "kernel.py").read_text()
    assert "SystemExit(0 if worst < 0.05 else 1)" in text
