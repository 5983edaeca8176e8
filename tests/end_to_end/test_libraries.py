"""Modules of Flax NNX, Flax Linen, Equinox and Haiku, parts and whole networks."""

from __future__ import annotations

import fnmatch
import functools
from typing import Any

import jax
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import InteractingExamplesError
from tests.case import N1
from tests.cases import LIBRARY_CASES, SEED
from tests.cases import problem as case_problem
from tests.end_to_end.matrix import check, covering_cells, every_cell
from tests.models.whole.model import WholeModel
from tests.models.whole.table import WHOLE_MODELS
from tests.oracles import dense_jacobian, kernel_of_jacobians, relative_error

COVERING = covering_cells(LIBRARY_CASES, n_methods=2)
REST = sorted(set(every_cell(LIBRARY_CASES)) - set(COVERING), key=str)

CONTRACTIONS = ("jacobian_contraction", "structured_derivatives")
METHODS = (*CONTRACTIONS, "ntk_vector_products")
FLOAT32_TOLERANCE = 1e-5
BY_NAME = {model.name: model for model in WHOLE_MODELS}


def parameters(models, *values):
    """Returns pytest's parameters, those of the slow models marked as slow."""
    return [
        pytest.param(
            model.name,
            *others,
            id="-".join((model.name, *others)),
            marks=(pytest.mark.slow,) if model.slow else (),
        )
        for model in models
        for others in (zip(*values, strict=True) if values else [()])
    ]


@pytest.mark.thinned(3)
@pytest.mark.parametrize("cell", COVERING, ids=str)
def test_kernel_is_the_oracles(cell):
    check(cell)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("cell", REST, ids=str)
def test_kernel_is_the_oracles_in_every_other_way(cell):
    check(cell)


@pytest.mark.parametrize("name", [case.name for case in LIBRARY_CASES])
def test_no_leaf_of_a_part_is_opaque(name):
    method = "jacobian_contraction"  # which the rules do not depend on
    plan = ntkplan.plan(*case_problem(name), kernel="trace", methods=method)
    assert [layer.path for layer in plan.layers if "opaque" in layer.rules] == []


@functools.cache
def problem(name: str) -> tuple[Any, Any, Any, Any]:
    """Returns `f, params, x1, x2`; no `x2` where examples interact."""
    model = BY_NAME[name]
    f, params, x1, x2 = model.build(jax.random.key(SEED))
    return f, params, x1, None if model.interacts else x2


@functools.cache
def oracle(name: str) -> np.ndarray:
    """Returns the full kernel of a whole model by its dense float64 Jacobian."""
    f, params, x1, x2 = problem(name)
    if x2 is None:
        jacobian = dense_jacobian(f, params, x1)
        return kernel_of_jacobians(jacobian, jacobian)
    jacobian = dense_jacobian(f, params, np.concatenate([x1, x2]))
    return kernel_of_jacobians(jacobian[:N1], jacobian[N1:])


def planned(model: WholeModel, methods: Any = None) -> ntkplan.Plan:
    batch_axis = None if model.interacts else 0
    return ntkplan.plan(*problem(model.name), batch_axis=batch_axis, methods=methods)


def assert_is_the_oracles(model: WholeModel, plan: ntkplan.Plan) -> None:
    _, params, x1, x2 = problem(model.name)
    got = np.asarray(plan.compile()(params, x1, x2))
    assert got.dtype == np.float32
    assert relative_error(got, oracle(model.name)) < FLOAT32_TOLERANCE


def assert_follows_its_rules(model: WholeModel, plan: ntkplan.Plan) -> None:
    matched, others = set(), []
    for layer in plan.layers:
        glob = next(glob for glob in model.rules if fnmatch.fnmatch(layer.path, glob))
        matched.add(glob)
        if layer.rules != model.rules[glob]:
            others.append((layer.path, layer.rules, model.rules[glob]))
    assert others == []
    assert matched == set(model.rules), "a glob fits no leaf"


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", parameters(WHOLE_MODELS))
def test_kernel_of_a_whole_model_is_the_oracles(name):
    """With the default plan, or with contractions where it has none of them."""
    model = BY_NAME[name]
    f, params, x1, _ = problem(name)
    assert (" scan[" in str(jax.make_jaxpr(f)(params, x1))) == model.scans
    plan = planned(model)
    assert_follows_its_rules(model, plan)
    if not any(layer.method in CONTRACTIONS for layer in plan.layers):
        plan = planned(model, CONTRACTIONS)
    assert_is_the_oracles(model, plan)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_kernel_of_a_whole_model_is_the_oracles_with_the_default_plan(name):
    assert_is_the_oracles(BY_NAME[name], planned(BY_NAME[name]))


@pytest.mark.parametrize(
    ("name", "method"),
    parameters([model for model in WHOLE_MODELS if model.cheap], METHODS),
)
def test_kernel_of_a_cheap_model_is_the_oracles_with_every_method(name, method):
    plan = planned(BY_NAME[name], method)
    assert {layer.method for layer in plan.layers} == {method}
    assert_is_the_oracles(BY_NAME[name], plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    parameters(
        [model for model in WHOLE_MODELS if not (model.cheap or model.slow)], METHODS
    ),
)
def test_kernel_of_a_whole_model_is_the_oracles_with_every_method(name, method):
    assert_is_the_oracles(BY_NAME[name], planned(BY_NAME[name], method))


@pytest.mark.parametrize(
    "name",
    parameters([model for model in WHOLE_MODELS if model.interacts]),
)
def test_models_whose_examples_interact_are_refused_without_batch_axis_none(name):
    with pytest.raises(InteractingExamplesError, match="batch_axis=None"):
        ntkplan.plan(*problem(name))
