"""`docs/coverage.md` is what the tables say, and the tables are what planning does."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan._jax import Primitive
from tests.oracles import x64
from tests.primitives import coverage, elementwise
from tests.primitives.coverage import Verdict
from tests.primitives.installed import differentiable_primitives
from tests.primitives.model import any_cpu
from tests.primitives.table import MODELS

PRIMITIVES = differentiable_primitives()


def test_nothing_is_unknown():
    rows = coverage.rows()
    assert len(rows) >= len(PRIMITIVES) > 170
    assert all(row.verdicts for row in rows)
    shown = [row for row in rows if row.tests or Verdict.PART in row.verdicts]
    assert shown == rows


def test_a_primitive_that_no_test_shows_is_unknown(monkeypatch):
    newer = {**PRIMITIVES, "newer": Primitive("newer")}
    monkeypatch.setattr(coverage, "differentiable_primitives", lambda: newer)
    with pytest.raises(LookupError, match="newer"):
        coverage.rows()


def test_page_is_up_to_date():
    """Other versions of JAX have other primitives: the page says which it is of."""
    text = coverage.PAGE.read_text(encoding="utf-8")
    (version,) = re.findall(r"with JAX (\S+);", text)
    if version != jax.__version__:
        pytest.skip(f"the page is that of JAX {version}")
    assert text == coverage.page(), "run `python -m tests.primitives.coverage`"


# The order of a leaf's entries has no derivative, so that nothing follows it there.
OPAQUE = [
    model
    for model in MODELS
    if not model.whole
    and model.name != "argsort"
    and not model.by_reference
    and any(
        coverage.verdicts_of(PRIMITIVES[name], ["data_path"]) == (Verdict.OPAQUE,)
        for name in model.primitives[:1]
        if name in PRIMITIVES
    )
]


def rules_of_a_parameter_in(model) -> tuple[str, ...]:
    """Returns the rules for a parameter that enters the operation by itself."""
    rng = np.random.default_rng(1)
    operands = [rng.uniform(0.2, 0.8, size=shape) for shape in model.shapes]

    def f(params, x):
        made = model.operation(*params)
        leaves = [leaf for leaf in jax.tree.leaves(made) if is_inexact(leaf)]
        return x * sum(jnp.sum(jnp.abs(leaf)) for leaf in leaves)

    with x64():
        plan = ntkplan.plan(f, operands, np.ones((2, 1)), device=any_cpu())
    return plan.layers[0].rules


def is_inexact(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            model,
            id=model.name,
        )
        for model in OPAQUE
    ],
)
def test_what_is_called_opaque_is(model):
    assert rules_of_a_parameter_in(model) == ("opaque",)


@pytest.mark.parametrize("model", elementwise.UNARY, ids=lambda model: model.name)
def test_what_is_called_structured_is(model):
    params = {"scale": np.linspace(0.3, 0.9, 4)}

    def f(params, x):
        return x * model.operation(params["scale"])

    with x64():
        plan = ntkplan.plan(f, params, np.ones((2, 4)), device=any_cpu())
    assert "opaque" not in plan.layers[0].rules
    verdicts = coverage.verdicts_of(PRIMITIVES[model.name], ["data_path"])
    assert verdicts == (Verdict.STRUCTURED, Verdict.PREFIX)
