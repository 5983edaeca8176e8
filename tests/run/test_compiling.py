"""Kernels are right where this JAX's compiler is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# One layer normalisation whose derivatives, for all examples and outputs, are over a
# mebibyte: what JAX 0.10 gets wrong. `jax.jit(jax.jacrev(f))` is wrong as well; the
# oracle runs in float64, in which nothing is fused in that way.
PROGRAM = """
import sys, tempfile, warnings
import jax, jax.numpy as jnp, numpy as np
import ntkplan

def f(params, x):
    h = x @ params["w"]
    h = h - h.mean(-1, keepdims=True)
    h = h / jnp.sqrt((h * h).mean(-1, keepdims=True) + 1e-6)
    return (jnp.tanh(h) @ params["v"]).mean(1)

def normal(*shape):
    return np.random.default_rng(len(shape) + shape[-1]).normal(size=shape) / 8

params = {"w": normal(64, 64), "v": normal(64, 10)}
x = normal(8, 64, 64) * 8
from ntkplan._jax import enable_x64
with enable_x64():
    exact = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
    leaves = jax.tree.leaves(jax.jacrev(f)(exact, jnp.asarray(x)))
    expected = sum(
        np.einsum("nop,mqp->nmoq", *[np.asarray(j).reshape(8, 10, -1)] * 2)
        for j in leaves
    )
params, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, x))
plan = ntkplan.plan(f, params, x)
kernel = plan.compile()
tree = ntkplan.plan(lambda p, x: (f(p, x), 2 * f(p, x)), params, x).compile()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = kernel(params, x)
    once, fourfold = tree(params, x)
assert not caught, caught
for kernels in (found, once, fourfold / 4):
    worst = np.abs(np.asarray(kernels) - expected).max() / np.abs(expected).max()
    assert worst < 1e-4, worst
ahead = kernel.lower(params, x).compile()(params, x)
assert np.array_equal(ahead, found)
from ntkplan.compiling import FLAGS, sums_are_wrong
from ntkplan.errors import MiscompiledSumsWarning
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    jax.eval_shape(jax.jit(kernel), params, x)
    path = plan.save(f"{tempfile.mkdtemp()}/kernel.py")
own = jax.jit(lambda p, x: 2 * kernel(p, x), compiler_options=plan.compiler_options)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    doubled = own(params, x)
worst = np.abs(np.asarray(doubled) / 2 - expected).max() / np.abs(expected).max()
assert worst < 1e-4, worst
named = [w for w in caught if issubclass(w.category, MiscompiledSumsWarning)]
assert len(named) == 2 * sums_are_wrong(), caught
assert FLAGS in path.read_text()
"""


@pytest.mark.parametrize("flags", ["", "sound"])
def test_a_normalisation_is_right_in_a_fresh_process(flags):
    """With JAX as users have it, and with the flag that all other tests run with."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    if not flags:
        environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
