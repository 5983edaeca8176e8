"""Plans as JSON: what comes back emits the same bytes and runs."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import (
    MismatchedInputsError,
    ModelNeededError,
    UndecidedIndependenceWarning,
    UnprintableError,
    UnreadablePlanError,
    UnwritablePlanError,
)
from tests.end_to_end.saved_problems import heads, perceptron, problems
from tests.oracles import dense_kernel, relative_error

X = jnp.linspace(-1.0, 1.0, 20, dtype=jnp.float32).reshape(5, 4)
TABLE = np.random.default_rng(0).normal(size=(5, 50)).astype(np.float32)


def with_table(params, x):
    return perceptron(params, x @ TABLE @ TABLE.T)


@functools.cache
def planned():
    _, params, x, _, _ = problems()["trace"]
    return ntkplan.plan(with_table, params, x, kernel="trace"), params, x


@functools.cache
def text():
    return planned()[0].to_json()


def changed(**fields):
    return json.dumps({**json.loads(text()), **fields})


def test_a_plan_that_was_read_is_the_plan():
    plan, _, _ = planned()
    back = ntkplan.Plan.from_json(text())
    assert back.source() == plan.source()
    assert back.to_json() == text()
    assert str(back) == str(plan)
    assert back.layers == plan.layers
    assert back.cost == plan.cost
    assert back.device == plan.device
    assert back.explain("layers/0/w") == plan.explain("layers/0/w")
    assert back.symbolic.layers == plan.symbolic.layers
    assert back.symbolic.total == plan.symbolic.total
    assert str(back.symbolic) == str(plan.symbolic)


def test_a_plan_that_was_read_runs_with_its_constants(tmp_path):
    _, params, x = planned()
    back = ntkplan.Plan.from_json(text())
    shapes = [array.shape for array in back.module.constants.values()]
    assert shapes == [(5, 50), (50, 5)]
    kernel = back.compile()
    got = kernel(params, x, x[:2])
    wanted = dense_kernel(with_table, params, x, x[:2], kernel="trace")
    assert relative_error(got, wanted) < 1e-5
    with pytest.raises(MismatchedInputsError, match="x1"):
        kernel(params, x[:, :3])
    back.save(tmp_path / "kernel.py")
    assert (tmp_path / "kernel.py").read_text() == planned()[0].source()


def test_what_needs_the_model_says_so():
    with pytest.raises(
        ModelNeededError, match=r"Plan again: ntkplan\.plan\(with_table"
    ):
        ntkplan.Plan.from_json(text()).at(n1=10)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: "no JSON {", "it is no JSON"),
        (lambda: '{"a": 1}', "JSON of something else"),
        (lambda: changed(schema_version=0), "schema version 0.*Plan again"),
        (lambda: changed(n1=7), "it was changed"),
        (lambda: changed(kind="tree_plan"), r"TreePlan\.from_json"),
        (lambda: text()[: len(text()) // 2], "it is no JSON"),
    ],
)
def test_other_texts_are_refused(made, message):
    with pytest.raises(UnreadablePlanError, match=f"(?s){message}"):
        ntkplan.Plan.from_json(made())


def test_formulas_are_not_evaluated():
    from ntkplan.plan_json.formulas import size_of

    for foreign in ("__import__('os')", "Symbol('x')", "Add(1)", "Integer(1.5)", "1 +"):
        with pytest.raises(ValueError, match="is no"):
            size_of(foreign)


def test_a_tree_of_outputs_comes_back():
    _, params, x, _, _ = problems()["heads"]
    plan = ntkplan.plan(heads, params, x)
    back = ntkplan.TreePlan.from_json(plan.to_json())
    assert back.source() == plan.source()
    assert str(back) == str(plan)
    assert back.outputs["a"].source() == plan.outputs["a"].source()
    got = back.compile()(params, x)
    wanted = dense_kernel(lambda p, x: heads(p, x)["b"], params, x)
    assert relative_error(got["b"], wanted) < 1e-5


def test_types_of_the_user_come_back_by_their_keys():
    f, params, x, _, _ = problems()["attributes"]
    plan = ntkplan.plan(f, params, x)
    back = ntkplan.Plan.from_json(plan.to_json())
    assert back.source() == plan.source()
    assert back.to_json() == plan.to_json()
    assert back.compile(check_memory=True).memory.compiled_bytes > 0
    got = back.compile()(params, x)
    assert relative_error(got, dense_kernel(f, params, x)) < 1e-5
    with pytest.raises(MismatchedInputsError, match="the tree of params"):
        back.compile()(jax.tree.leaves(params), x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Named:
    """Its fields are called as what might be in their way."""

    _keys: jax.Array
    tree_unflatten: dict[int, jax.Array]


class Pair(NamedTuple):
    left: jax.Array
    right: tuple[jax.Array]


def test_trees_of_all_kinds_of_nodes_come_back():
    def f(params, x):
        left, (right,) = x.left, x.right
        return jnp.tanh(left @ params._keys + right) @ params.tree_unflatten[3]

    params = Named(jnp.ones((4, 3)) / 4, {3: jnp.ones((3, 2)) / 3})
    x = Pair(X, (jnp.sin(X[:, :1]),))
    plan = ntkplan.plan(f, params, x)
    back = ntkplan.Plan.from_json(plan.to_json())
    assert back.source() == plan.source()
    got = back.compile(check_memory=True)(params, x)
    assert relative_error(got, dense_kernel(f, params, x)) < 1e-5
    assert str(back.signature.x) == (
        "Pair(.left=ShapeDtypeStruct(shape=(5, 4), dtype=float32), "
        ".right=(ShapeDtypeStruct(shape=(5, 1), dtype=float32),))"
    )


def test_types_of_the_user_that_a_kernel_returns_are_refused():
    def f(params, x):
        return Pair(x @ params, (jnp.sin(x @ params),))

    plan = ntkplan.plan(f, jnp.ones((4, 2)), X)
    with pytest.raises(UnwritablePlanError, match="nodes of type Pair"):
        plan.to_json()


def test_keys_that_json_cannot_hold_are_refused():
    params = {(1, 2): jnp.ones((4, 2))}
    plan = ntkplan.plan(lambda params, x: x @ params[1, 2], params, X)
    with pytest.raises(UnwritablePlanError, match=r"params has a node at .*\(1, 2\)"):
        plan.to_json()


def test_what_runs_by_reference_is_refused_with_the_list():
    def f(params, x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        x = jax.pure_callback(np.asarray, shape, x, vmap_method="sequential")
        return x @ params

    with pytest.warns(UndecidedIndependenceWarning):
        plan = ntkplan.plan(f, jnp.ones((3, 2)), jnp.ones((4, 3)))
    with pytest.raises(UnprintableError, match="call_pure_callback: ") as caught:
        plan.to_json()
    assert "cannot be written as JSON" in str(caught.value)
