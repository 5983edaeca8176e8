"""Leaves that reach data on winding ways: what rules see in them, and their kernels."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import pytest

import ntkplan
from tests.case import N1
from tests.cases import SEED
from tests.end_to_end.matrix import METHODS, methods_option
from tests.models.structured.table import CASES
from tests.oracles import (
    KERNELS,
    cast_floats,
    dense_jacobian,
    kernel_of_jacobians,
    leaf_names,
    relative_error,
    x64,
)

NAMES = tuple(case.name for case in CASES)
BY_NAME = {case.name: case for case in CASES}
TOLERANCE = 1e-10

# A way to compute a kernel: the method, the kernel, and whether there is an `x2`.
WAYS = tuple(itertools.product(METHODS, KERNELS, (False, True)))
COVERING = tuple(zip(NAMES, itertools.cycle(WAYS), strict=False))
REST = tuple(sorted(set(itertools.product(NAMES, WAYS)) - set(COVERING)))


def spelled(value):
    """Returns the name of a parametrised test's argument."""
    if isinstance(value, str):
        return value
    method, kernel, crossed = value
    return f"{method}-{kernel}-{'cross' if crossed else 'symmetric'}"


@functools.cache
def problem(name):
    """Returns `f, params, x1, x2` in float64, built once."""
    f, params, x1, x2 = BY_NAME[name].build(jax.random.key(SEED))
    return f, *(cast_floats(tree, np.float64) for tree in (params, x1, x2))


@functools.cache
def jacobians(name):
    """Returns the dense Jacobians at `x1` and `x2`, made once."""
    f, params, x1, x2 = problem(name)
    both = jax.tree.map(lambda *leaves: np.concatenate(leaves), x1, x2)
    jacobian = dense_jacobian(f, params, both)
    return jacobian[:N1], jacobian[N1:]


def planned(name, way):
    """Returns the plan of a kernel."""
    method, kernel, crossed = way
    f, params, x1, x2 = problem(name)
    options = methods_option(method, leaf_names(params))
    return ntkplan.plan(
        f, params, x1, x2 if crossed else None, kernel=kernel, methods=options
    )


def assert_right(name, way, plan):
    """Compares a planned kernel with the dense one.

    Raises:
        AssertionError: It is another.
    """
    _, kernel, crossed = way
    _, params, x1, x2 = problem(name)
    first, second = jacobians(name)
    wanted = kernel_of_jacobians(first, second if crossed else first, kernel)
    got = plan.compile()(params, x1, x2 if crossed else None)
    error = relative_error(got, wanted)
    assert error <= TOLERANCE, f"{name} is off by {error:.2e}"


@pytest.mark.thinned(2)
@pytest.mark.parametrize(("name", "way"), COVERING, ids=spelled)
def test_kernel_and_what_the_plan_says_of_every_leaf(name, way):
    """Nothing is opaque but where the model says why."""
    case = BY_NAME[name]
    with x64():
        plan = planned(name, way)
        assert_right(name, way, plan)
    found = {layer.path: layer for layer in plan.layers}
    assert {path: layer.rules for path, layer in found.items()} == dict(case.rules)
    n_uses = {path: layer.n_uses for path, layer in found.items() if layer.n_uses > 1}
    assert n_uses == dict(case.n_uses)
    opaque = {path for path, names in case.rules.items() if "opaque" in names}
    assert opaque == set(case.opaque)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize(("name", "way"), REST, ids=spelled)
def test_kernel_in_every_other_way(name, way):
    with x64():
        assert_right(name, way, planned(name, way))


def test_every_way_is_tested_on_some_model():
    assert {way for _, way in COVERING} == set(WAYS)
    assert len(COVERING) == len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", [case.name for case in CASES if case.opaque])
def test_an_opaque_leaf_is_said_to_be_so_with_the_reason(name):
    f, params, x1, _ = problem(name)
    with x64():
        plan = ntkplan.plan(f, params, x1)
    for path, reason in BY_NAME[name].opaque.items():
        (layer,) = (layer for layer in plan.layers if layer.path == path)
        assert reason in layer.why
        assert "opaque:" in str(plan)
