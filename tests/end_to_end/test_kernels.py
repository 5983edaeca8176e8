"""Every model in plain JAX: its kernels against the dense float64 Jacobian's."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from tests.cases import PLAIN_CASES, jacobians
from tests.end_to_end.matrix import (
    DTYPES,
    EXAMPLES,
    METHODS,
    Cell,
    check,
    covering_cells,
    every_cell,
)
from tests.oracles import KERNELS, cast_floats, dense_kernel, relative_error
from tests.quick_compiler import compiled_quickly

LIGHT = [case for case in PLAIN_CASES if not case.heavy]
COVERING = covering_cells(LIGHT)
REST = sorted(set(every_cell(PLAIN_CASES)) - set(COVERING), key=str)
OPTIMISED = (
    "plain_mlp",
    "plain_cnn_max_pool",
    "plain_transformer_encoder",
    "plain_rnn_scanned",
    "plain_embedding",
)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("cell", COVERING, ids=str)
def test_kernel_is_the_oracles(cell):
    check(cell)


@pytest.mark.optimised
@pytest.mark.parametrize("name", OPTIMISED)
def test_kernel_is_the_oracles_as_users_compile_it(name):
    """All other kernels of this table are printed by another part of the compiler."""
    with compiled_quickly():
        jacobians(name)
    options = {"method": "chosen", "kernel": "full", "examples": "cross"}
    check(Cell(case=name, dtype="float32", **options))


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("cell", REST, ids=str)
def test_kernel_is_the_oracles_in_every_other_way(cell):
    check(cell)


def test_covering_cells_cover_every_pair_of_options():
    cases = [case for case in LIGHT if case.forward_mode]
    options = {
        "case": [case.name for case in cases],
        "method": METHODS,
        "kernel": KERNELS,
        "examples": EXAMPLES,
        "dtype": DTYPES,
    }
    cells = covering_cells(cases)
    assert cells == covering_cells(cases)
    for first, second in itertools.combinations(options, 2):
        seen = {(getattr(cell, first), getattr(cell, second)) for cell in cells}
        assert seen == set(itertools.product(options[first], options[second]))


def test_what_is_behind_a_custom_vjp_has_no_ntk_vector_products_to_choose():
    """What comes after it has; JAX pushes no tangent through a rule of `custom_vjp`."""

    @jax.custom_vjp
    def layer(w, x):
        return jnp.sin(x @ w)

    def backward(saved, cotangent):
        w, x = saved
        cotangent = cotangent * jnp.cos(x @ w)
        return x.T @ cotangent, cotangent @ w.T

    layer.defvjp(lambda w, x: (layer(w, x), (w, x)), backward)
    rng = np.random.default_rng(5)
    params = {"w": rng.normal(size=(5, 7)), "head": rng.normal(size=(7, 3))}
    params = cast_floats(params, np.float32)
    x = cast_floats(rng.normal(size=(1, 5)), np.float32)

    def with_rule(params, x):
        return layer(params["w"], x) @ params["head"]

    def without_rule(params, x):
        return jnp.sin(x @ params["w"]) @ params["head"]

    method = "ntk_vector_products"
    unhindered = ntkplan.plan(without_rule, params, x)
    assert method in unhindered.explain("w")
    plan = ntkplan.plan(with_rule, params, x, methods={"head": method})
    assert method in plan.explain("head")
    assert method not in plan.explain("w")
    got = plan.compile()(params, x)
    assert relative_error(got, dense_kernel(without_rule, params, x)) < 2e-5
