"""Exported kernels, run in a process that has neither the model nor its plan."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.cases import jacobians, problem
from tests.oracles import dense_kernel, kernel_of_jacobians, relative_error

TOLERANCE = 1e-4
CASES = {
    "plain_mlp": {},
}
LARGER = {
    "nnx_mlp": {"kernel": "full", "methods": "ntk_vector_products"},
    "plain_cnn_same_strided": {"kernel": "trace"},
    "plain_transformer_of_tokens": {"kernel": "diagonal"},
    "plain_rnn_scanned": {"kernel": "full"},
    "plain_embedding": {"kernel": "sum_of_logits"},
}
RUN = """
import pathlib, pickle, sys
import jax
jax.config.update("jax_disable_most_optimizations", True)
import ntkplan
for path in pathlib.Path(sys.argv[1]).glob("*.ntk"):
    params, x1, x2 = pickle.loads(path.with_suffix(".inputs").read_bytes())
    kernel = ntkplan.load_export(path)
    found = jax.device_get((kernel(params, x1), kernel(params, x1, x2)))
    path.with_suffix(".kernels").write_bytes(pickle.dumps(found))
"""


def body_and_head(params, x):
    """Two outputs, and a bottleneck of three values before the wide one."""
    hidden = jnp.tanh(x @ params["w"])
    return {"hidden": hidden, "rest": [jnp.tanh(hidden) @ params["v"], None]}


WIDE = {
    "w": np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32),
    "v": np.random.default_rng(2).normal(size=(3, 40)).astype(np.float32),
}
X = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Exports all kernels and returns what another process makes of them."""
    folder = tmp_path_factory.mktemp("exports")

    def save(name, plan, *inputs):
        exported = plan.export()
        assert "x1 and x2: n1 and n2 free\n" in str(exported)
        exported.save(folder / f"{name}.ntk")
        (folder / f"{name}.inputs").write_bytes(pickle.dumps(jax.device_get(inputs)))

    for name, options in CASES.items():
        f, params, x1, x2 = problem(name)
        # Planned for other numbers of examples than it is run with.
        plan = ntkplan.plan(f, params, x1[:2], x2[:1], **options)
        save(name, plan, jax.tree.leaves(params), x1, x2)
    save("tree", ntkplan.plan(body_and_head, WIDE, X[:2]), WIDE, X[:3], X[3:])
    subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    return {
        path.stem: pickle.loads(path.read_bytes()) for path in folder.glob("*.kernels")
    }


@pytest.mark.parametrize("name", CASES)
def test_kernels_are_those_of_dense_jacobians(name, found):
    compare(name, CASES[name].get("kernel", "full"), *found[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGER)
def test_larger_models_are_loaded_too(name, tmp_path):
    f, params, x1, x2 = problem(name)
    plan = ntkplan.plan(f, params, x1[:2], x2[:1], **LARGER[name])
    kernel = ntkplan.load_export(plan.export().save(tmp_path / "kernel.ntk"))
    found = kernel(params, x1), kernel(params, x1, x2)
    compare(name, LARGER[name]["kernel"], *found)


def compare(name, kernel, alone, pair):
    """Compares the kernels of `x1`, and of `x1` with `x2`, with the oracle's."""
    first, second = jacobians(name)
    wanted = kernel_of_jacobians(first, first, kernel)
    assert relative_error(alone, wanted) < TOLERANCE
    wanted = kernel_of_jacobians(first, second, kernel)
    assert relative_error(pair, wanted) < TOLERANCE


def test_a_tree_of_outputs_comes_back_as_that_tree(found):
    for tree, x2 in zip(found["tree"], (None, X[3:]), strict=True):
        hidden = dense_kernel(
            lambda w, x: body_and_head(w, x)["hidden"], WIDE, X[:3], x2
        )
        wide = dense_kernel(
            lambda w, x: body_and_head(w, x)["rest"][0], WIDE, X[:3], x2
        )
        assert relative_error(tree["hidden"], hidden) < TOLERANCE
        assert relative_error(tree["rest"][0], wide) < TOLERANCE
        assert tree["rest"][1] is None
