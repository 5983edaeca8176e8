"""The formula of a whole kernel's peak, against the number that a plan has."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import MemoryLimitError
from ntkplan.planner import halves


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolutional(params, x):
    for kernel in params["body"]:
        x = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x)
    return x.mean((1, 2)) @ params["head"] + params["bias"]


def narrow(params, x):
    for weight in params:
        x = jnp.tanh(x @ weight)
    return x


CONVOLUTIONAL = {
    "body": [normal(0, 3, 3, 3, 8), normal(1, 3, 3, 8, 16)],
    "head": normal(2, 16, 6),
    "bias": normal(3, 6),
}
NARROW = [normal(0, 32, 64), normal(1, 64, 4), normal(2, 4, 48)]


def formula_at(plan, n1, n2):
    formula = plan.symbolic.total.peak_bytes
    sizes = {"n1": n1, "n2": n2 or n1, "n_outputs": plan.spec.n_basis}
    return float(formula.subs({s: sizes[s.name] for s in formula.free_symbols}))


CASES = {
    "plain": (convolutional, CONVOLUTIONAL, (9, 16, 16, 3), None, {}),
    "two batches": (convolutional, CONVOLUTIONAL, (9, 16, 16, 3), 5, {}),
    "trace": (convolutional, CONVOLUTIONAL, (9, 16, 16, 3), 5, {"kernel": "trace"}),
    "matched": (
        convolutional,
        CONVOLUTIONAL,
        (9, 16, 16, 3),
        9,
        {"pairs": "matched"},
    ),
    "pushed": (
        convolutional,
        CONVOLUTIONAL,
        (9, 16, 16, 3),
        None,
        {"methods": "ntk_vector_products"},
    ),
    "halves": (
        lambda params, x: jnp.tanh(x @ params[0]) @ params[1],
        [normal(0, 8, 16), normal(1, 16, 24)],
        (201, 8),
        None,
        {"methods": "structured_derivatives"},
    ),
    "cut": (narrow, NARROW, (20, 32), None, {}),
    "device without a library's copies": (
        convolutional,
        CONVOLUTIONAL,
        (9, 16, 16, 3),
        None,
        {"device": "tpu_v5e"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_formula_is_the_number_of_the_plan(name, monkeypatch):
    if name == "halves":
        monkeypatch.setattr(halves, "_LEAST_GAIN", 0.0)
    model, params, shape, n2, options = CASES[name]
    x1 = jax.ShapeDtypeStruct(shape, "float32")
    x2 = n2 and jax.ShapeDtypeStruct((n2, *shape[1:]), "float32")
    options = {"device": "x86_64_cpu"} | options
    plan = ntkplan.plan(model, params, x1, x2, **options)
    assert formula_at(plan, shape[0], n2) == pytest.approx(plan.cost.peak_bytes)
    assert formula_at(plan, 2 * shape[0], n2) > plan.cost.peak_bytes
    if name == "halves":
        assert any("blocks of rows" in note for note in plan.notes)
    if name == "cut":
        assert any("cut at" in note for note in plan.notes)


@pytest.mark.parametrize("part", [0.9, 0.0])
def test_the_formula_is_that_of_the_tiles(part):
    x1 = jax.ShapeDtypeStruct((24, 16, 16, 3), "float32")

    def plan(limit):
        return ntkplan.plan(
            convolutional, CONVOLUTIONAL, x1, memory_limit=limit, device="x86_64_cpu"
        )

    limit = int(part * plan(None).cost.peak_bytes) or 1
    try:
        made = plan(limit)
    except MemoryLimitError as error:
        made = plan(error.least_bytes)
    assert formula_at(made, 24, None) == pytest.approx(made.cost.peak_bytes)


def test_the_formula_is_written_with_the_plan():
    x1 = jax.ShapeDtypeStruct((9, 16, 16, 3), "float32")
    plan = ntkplan.plan(convolutional, CONVOLUTIONAL, x1, device="x86_64_cpu")
    back = ntkplan.Plan.from_json(plan.to_json())
    assert formula_at(back, 5, None) == formula_at(plan, 5, None)
