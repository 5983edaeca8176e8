"""Saved files that import the user's function for what has no source."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import ModelReferenceError, NtkPlanWarning, UnprintableError
from tests.emit.formatter import ruff
from tests.oracles import dense_kernel, relative_error

MODEL = """
import functools

import jax
import jax.numpy as jnp
import numpy as np


def on_host(function, x):
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(function, shape, x, vmap_method="broadcast_all")


@jax.custom_jvp
def sine(x):
    return on_host(lambda x: np.sin(np.asarray(x)), x)


@sine.defjvp
def slope(x, t):
    return sine(*x), on_host(lambda x: np.cos(np.asarray(x)), *x) * t[0]


def apply(params, x):
    x = on_host(lambda x: 2 * np.asarray(x), x)
    for scale in (3.0, 0.5):
        x = on_host(functools.partial(np.multiply, np.float32(scale)), x)

    def layer(h, w):
        return jnp.tanh(h @ w) + on_host(lambda x: np.asarray(x) - 1, x), None

    return jax.lax.scan(layer, x, params["stack"])[0] @ params["head"]


def other(params, x):
    return on_host(lambda x: 7 * np.asarray(x), x) @ params["stack"][0] @ params["head"]


def swapped(params, x):
    x = on_host(lambda x: 3 * np.asarray(x) ** 2, x)
    for scale in (3.0, 0.5):
        x = on_host(functools.partial(np.multiply, np.float32(scale)), x)

    def layer(h, w):
        return jnp.tanh(h @ w) + on_host(lambda x: np.asarray(x) - 1, x), None

    return jax.lax.scan(layer, x, params["stack"])[0] @ params["head"]


def with_rule(params, x):
    return sine(x @ params["stack"][0]) @ params["head"]


@jax.custom_vjp
def sine_on_host(x):
    return on_host(np.sin, x)


sine_on_host.defvjp(
    lambda x: (sine_on_host(x), x), lambda x, slope: (slope * jnp.cos(x),)
)


def twice(params, x):
    hidden = sine_on_host(x @ params["stack"][0])
    return sine_on_host(hidden @ params["stack"][1]) @ params["head"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs")
    (path / "their_model.py").write_text(MODEL)
    sys.path.insert(0, str(path))
    yield path
    sys.path.remove(str(path))


@pytest.fixture(scope="module")
def planned(folder):
    import their_model  # pyright: ignore

    rng = np.random.default_rng(0)
    params = {
        "stack": jnp.asarray(rng.normal(size=(3, 4, 4)) / 2, jnp.float32),
        "head": jnp.asarray(rng.normal(size=(4, 2)), jnp.float32),
    }
    x = rng.normal(size=(3, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NtkPlanWarning)
        return ntkplan.plan(their_model.apply, params, x), params, x


def test_without_the_model_the_list_says_what_has_no_source(planned, tmp_path):
    with pytest.raises(UnprintableError) as caught:
        planned[0].save(tmp_path / "kernel.py")
    assert str(caught.value).count("call_pure_callback") == 4
    assert str(caught.value).count("at their_model.py:11\n") == 4
    assert 'model="package.module:function"' in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["apply", "twice"])
def test_a_file_that_imports_the_model(planned, folder, name):
    import their_model  # pyright: ignore

    plan, params, x = planned
    function = getattr(their_model, name)
    if function is not their_model.apply:
        with pytest.warns(NtkPlanWarning):
            plan = ntkplan.plan(function, params, x)
    path = plan.save(folder / "kernel.py", model=f"their_model:{name}")
    assert "import ntkplan" not in path.read_text()
    command = [ruff(), "check", "--isolated", "--select", "I", "kernel.py"]
    subprocess.run(command, cwd=folder, check=True)
    np.savez(folder / "given.npz", x=x, **params)
    script = (
        "import sys, numpy, kernel\n"
        "given = dict(numpy.load('given.npz'))\n"
        "x = given.pop('x')\n"
        "numpy.save('theta.npy', kernel.kernel(given, x))\n"
        "assert 'ntkplan' not in sys.modules\n"
        "import runpy\n"
        "runpy.run_path('kernel.py', run_name='__main__')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "largest relative error" in run.stdout
    wanted = dense_kernel(function, params, x)
    assert relative_error(np.load(folder / "theta.npy"), wanted) < 1e-5


def test_parts_of_a_derivative_of_the_users_are_not_found(planned, folder):
    import their_model  # pyright: ignore

    _, params, x = planned
    with pytest.warns(NtkPlanWarning):
        plan = ntkplan.plan(their_model.with_rule, params, x)
    with pytest.raises(UnprintableError, match=r"not found for sure in their_model"):
        plan.save(folder / "rule.py", model="their_model:with_rule")


@pytest.mark.parametrize("name", ["other", "swapped"])
def test_another_model_is_refused(planned, tmp_path, name):
    refusals = UnprintableError, ModelReferenceError
    with pytest.raises(refusals, match=rf"their_model:{name}[\s\S]*\nGive "):
        planned[0].save(tmp_path / "kernel.py", model=f"their_model:{name}")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("their_model:nothing", "no function nothing"),
        ("math:gamma", "gamma does not take params and x"),
        ("nowhere:apply", "no module nowhere"),
        ("file.py:apply", "package.module:function|no module"),
        ("their_model", "package.module:function"),
        ("their_model:nothing", "the model that was planned"),
    ],
)
def test_references_that_name_no_function(planned, tmp_path, reference, message):
    with pytest.raises(ModelReferenceError, match=message):
        planned[0].save(tmp_path / "kernel.py", model=reference)


def test_model_that_is_not_needed_is_said_so(tmp_path):
    plan = ntkplan.plan(lambda w, x: x @ w, np.ones((3, 2), "float32"), np.eye(3))
    with pytest.warns(NtkPlanWarning, match="not needed.*Leave model= out"):
        plan.save(tmp_path / "kernel.py", model="their_model:apply")


def test_the_file_refuses_a_model_that_changed(planned, folder, monkeypatch):
    import runpy

    import their_model  # pyright: ignore

    plan, params, x = planned
    path = plan.save(folder / "changed.py", model="their_model:apply")
    monkeypatch.setattr(their_model, "apply", lambda params, x: x @ params["head"])
    namespace = runpy.run_path(str(path))
    with pytest.raises(ValueError, match=r"their_model\.apply is not the model"):
        namespace["kernel"](params, jax.numpy.asarray(x))
