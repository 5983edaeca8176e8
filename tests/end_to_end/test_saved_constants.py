"""Arrays that a model closes over: in the saved text, or beside it and checked."""

from __future__ import annotations

import runpy

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.oracles import dense_kernel, relative_error

RNG = np.random.default_rng(0)
SMALL = RNG.normal(size=(5, 6)).astype(np.float32)
LARGE = RNG.normal(size=(6, 40)).astype(np.float32)
SHORT = jnp.asarray(RNG.normal(size=(40, 9)), jnp.bfloat16)
PARAMS = jnp.asarray(RNG.normal(size=(9, 2)), jnp.float32)
X = RNG.normal(size=(3, 5)).astype(np.float32)


def model(params, x):
    hidden = jnp.tanh(x @ SMALL) @ LARGE
    return (hidden.astype(jnp.bfloat16) @ SHORT).astype(jnp.float32) @ params


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "kernel.py"
    ntkplan.plan(model, PARAMS, X).save(path)
    return path


def test_small_arrays_stand_in_the_text_and_others_beside_it(saved):
    with np.load(saved.with_suffix(".npz")) as beside:
        shapes = {array.shape: array.dtype for array in beside.values()}
    assert shapes == {(6, 40): np.float32, (40, 9): np.uint16}
    namespace = runpy.run_path(str(saved))
    np.testing.assert_array_equal(namespace["CONSTANT"], SMALL)
    wanted = dense_kernel(model, PARAMS, X)
    assert relative_error(namespace["kernel"](PARAMS, X), wanted) < 1e-2


def test_another_file_of_arrays_is_refused(saved):
    beside = saved.with_suffix(".npz")
    before = beside.read_bytes()
    with np.load(beside) as arrays:
        held = dict(arrays)
    name = next(name for name in held if held[name].dtype == np.float32)
    held[name] = held[name] + 1e-6
    np.savez(beside, **held)
    with pytest.raises(ValueError, match=r"kernel\.npz is not what .*kernel\.py was"):
        runpy.run_path(str(saved))
    beside.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"kernel\.npz is missing: .*kernel\.py"
    ):
        runpy.run_path(str(saved))
    beside.write_bytes(before)
