"""`ntkplan.check` of plans, kernels, saved files, exports and plain functions."""

from __future__ import annotations

import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4), "v": jnp.ones((4, 2))}
X = np.linspace(-1.0, 1.0, 15, dtype=np.float32).reshape(5, 3)


def model(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def two_heads(params, x):
    return {"a": model(params, x), "b": jnp.sin(x @ params["w"])}


def saved(plan, folder):
    """Returns the kernel of a file that was saved and imported."""
    path = plan.save(folder / "saved_kernel.py")
    spec = importlib.util.spec_from_file_location("saved_kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


def planned(**options):
    return ntkplan.plan(model, PARAMS, X, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "trace"},
        {"kernel": "diagonal", "pairs": "matched"},
        {"trace_axes": (-1,)},
        {"kernel": "trace", "batch_axis": None},
    ],
    ids=str,
)
def test_kernel_of_a_saved_file(options, tmp_path):
    x = X[:4]
    kernel = saved(ntkplan.plan(model, PARAMS, x, **options), tmp_path)
    result = ntkplan.check(kernel, model, PARAMS, x, **options)
    assert result.n_examples == 4
    assert result.relative_error < 2e-5


def test_kernel_of_a_saved_file_of_a_tree(tmp_path):
    kernel = saved(ntkplan.plan(two_heads, PARAMS, X), tmp_path)
    assert ntkplan.check(kernel, two_heads, PARAMS, X).relative_error < 2e-5
    with pytest.raises(errors.MismatchedInputsError, match="got 2, wanted 1"):
        ntkplan.check(kernel, model, PARAMS, X)


@pytest.mark.parametrize("options", [{}, {"kernel": "trace"}], ids=str)
def test_export(options):
    export = planned(**options).export(platforms=("cpu",))
    assert ntkplan.check(export, model, PARAMS, X, **options).relative_error < 2e-5
    with pytest.raises(errors.ConflictingOptionsError, match="batch_axis="):
        ntkplan.check(export, model, PARAMS, X, batch_axis=1, **options)


def test_kernel_that_is_of_something_else(tmp_path):
    kernel = saved(planned(kernel="trace"), tmp_path)
    with pytest.raises(errors.MismatchedInputsError, match="kernel=, trace_axes="):
        ntkplan.check(kernel, model, PARAMS, X)
    other = {**PARAMS, "v": -PARAMS["v"] + 3.0}
    with pytest.raises(errors.InaccurateKernelError, match="that were planned for"):
        ntkplan.check(
            lambda params, x: kernel(other, x), model, PARAMS, X, kernel="trace"
        )


@pytest.mark.parametrize("compiled", [False, True])
def test_option_that_a_plan_knows_by_itself(compiled):
    plan = planned()
    with pytest.raises(errors.ConflictingOptionsError, match="kernel= and pairs="):
        ntkplan.check(
            plan.compile() if compiled else plan,
            model,
            PARAMS,
            X,
            kernel="full",
            pairs="all",
        )


@pytest.mark.parametrize("given", [None, 3, "kernel.py"])
def test_what_is_no_kernel(given):
    with pytest.raises(errors.ArgumentTypeError, match=r"module\.kernel"):
        ntkplan.check(given, model, PARAMS, X)
