"""Small leaves whose Jacobians are made by pushing tangents forward."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import assembly
from ntkplan.emit import lower
from ntkplan.ir.program import Tiling
from ntkplan.planner import tangents, uncut
from tests.end_to_end.test_cuts import MODELS, WAYS, examples, values
from tests.oracles import dense_kernel, relative_error, x64

TOLERANCE = 1e-11
FIRST = "J1 J2, tangents first"
JACOBIANS = "jacobian_contraction"


@pytest.fixture
def forced(monkeypatch):
    """Takes every leaf for small, and pushes tangents however slow that is."""
    monkeypatch.setattr(uncut, "NEEDED_GAIN", 0.0)
    monkeypatch.setattr(tangents, "SMALL", float("inf"))


def mixed(params, x):
    """Has two scalars and a vector before a weight that is large."""
    x = jnp.tanh(x * params["gain"]) + params["shift"]
    x = jnp.sin(x * params["scale"])
    return jnp.tanh(x @ params["w"]) @ params["head"]


MIXED = {
    "gain": np.asarray(1.3),
    "shift": values(1),
    "scale": values(4),
    "w": values(4, 9),
    "head": values(9, 20),
}


def planned(model, params, x1, x2=None, *, first, **options):
    """Plans in float64, compares with the dense kernel and returns the plan.

    Raises:
        AssertionError: The kernel is another, or other leaves than `first` have their
            Jacobians from tangents.
    """
    with x64():
        plan = ntkplan.plan(model, params, x1, x2, **options)
        got = plan.compile()(params, x1, x2)
        for name in ("methods", "batch_axis", "device"):
            options.pop(name, None)
        wanted = dense_kernel(model, params, x1, x2, **options)
    assert {layer.path for layer in plan.layers if layer.order == FIRST} == set(first)
    assert relative_error(got, wanted) < TOLERANCE
    return plan


COVERING = tuple(zip(MODELS, itertools.cycle(WAYS[::-1]), strict=False))
REST = tuple(sorted(set(itertools.product(MODELS, WAYS)) - set(COVERING)))


def in_a_way(name, way):
    """Plans a model with all Jacobians from tangents."""
    kernel, crossed, matched = way
    model, params, (x1, x2) = MODELS[name]
    pairs = "matched" if matched else "all"
    x2 = x2 if crossed else None
    planned(
        model,
        params,
        x1,
        x2,
        first=params,
        methods=JACOBIANS,
        kernel=kernel,
        pairs=pairs,
    )


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("name", "way"), COVERING, ids=str)
def test_kernels_of_tangents_alone(name, way):
    in_a_way(name, way)


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("name", "way"), REST, ids=str)
def test_kernels_in_every_other_way(name, way):
    in_a_way(name, way)


@pytest.mark.parametrize(
    "kernel",
    [
        "full",
        pytest.param("trace", marks=pytest.mark.slow),
        pytest.param("diagonal", marks=pytest.mark.slow),
    ],
)
def test_cotangents_are_pulled_back_no_further_than_tangents_are_pushed(
    monkeypatch, kernel
):
    monkeypatch.setattr(uncut, "NEEDED_GAIN", 0.0)
    x1, x2 = examples(4)
    first = ("gain", "shift", "scale")
    plan = planned(mixed, MIXED, x1, x2, first=first, methods=JACOBIANS, kernel=kernel)
    source = plan.source()
    assert "jax.jacfwd" in source
    assert "taps | tangents" in source


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "axes",
    [
        {"trace_axes": (1,)},
        {"diagonal_axes": (2,)},
        {"trace_axes": (2,), "diagonal_axes": (1,)},
        {"trace_axes": (3,), "diagonal_axes": (1,)},
    ],
    ids=str,
)
def test_outputs_are_grouped_as_cotangents_are(axes):
    def model(params, x):
        rows = jnp.tanh(x[:, :, None] * params["a"])
        return jnp.sin(rows[..., None] * params["b"])

    params = {"a": values(3), "b": values(2)}
    x1, x2 = examples(4)
    planned(model, params, x1, x2, first=params, methods=JACOBIANS, **axes)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "kernel",
    [
        "full",
        pytest.param("trace", marks=pytest.mark.slow),
        pytest.param("diagonal", marks=pytest.mark.slow),
    ],
)
def test_a_part_of_the_outputs_at_a_time(monkeypatch, kernel):
    tiling = Tiling(rows=2, columns=2, outputs=3, keeps=False)
    monkeypatch.setattr(
        assembly, "lower", lambda *a, **k: lower.lower(*a, **k | {"tiling": tiling})
    )
    model, params, (x1, x2) = MODELS["rows_of_outputs"]
    plan = planned(
        model, params, x1, x2, first=params, methods=JACOBIANS, kernel=kernel
    )
    assert "over_tiles" in plan.source()


@pytest.mark.usefixtures("forced")
def test_a_batch_whose_examples_interact():
    def model(params, x):
        hidden = (x - x.mean(0)) * params["scale"]
        return jnp.tanh(hidden @ params["w"])

    params = {"scale": values(4), "w": values(4, 3)}
    x1, _ = examples(4)
    planned(
        model,
        params,
        x1,
        x1[::-1] * 2,
        first=params,
        methods=JACOBIANS,
        batch_axis=None,
    )


@pytest.mark.usefixtures("forced")
def test_beside_vector_products():
    x1, x2 = examples(4)
    methods = {"w": "ntk_vector_products", "head": "structured_derivatives"}
    first = ("gain", "shift", "scale")
    plan = planned(
        mixed, MIXED, x1, x2, first=first, methods=methods | {"scale": JACOBIANS}
    )
    assert "pushed" in plan.source()


@pytest.mark.slow
@pytest.mark.usefixtures("forced")
def test_where_examples_lie_along_another_axis():
    def model(params, x):
        return mixed(params, x.T)

    x1, x2 = examples(4)
    with x64():
        plan = ntkplan.plan(model, MIXED, x1.T, x2.T, batch_axis=1, methods=JACOBIANS)
        got = plan.compile()(MIXED, x1.T, x2.T)
        wanted = dense_kernel(mixed, MIXED, x1, x2)
    assert plan.layers[0].order == FIRST
    assert relative_error(got, wanted) < TOLERANCE


@pytest.mark.usefixtures("forced")
def test_where_a_method_or_a_missing_derivative_forbids_it():
    """A leaf stops all behind it: cotangents go back to it anyway."""
    x1, _ = examples(4)
    planned(mixed, MIXED, x1, first=(), methods="structured_derivatives")

    @jax.custom_vjp
    def doubled(x):
        return 2 * x

    doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))

    def model(params, x):
        x = doubled(x * params["gain"])
        return jnp.tanh(x * params["scale"]) @ params["w"]

    params = {"gain": values(1), "scale": values(4), "w": values(4, 30)}
    planned(model, params, x1, first=())


@pytest.mark.usefixtures("forced")
def test_what_no_rule_covers():
    def model(params, x):
        return jnp.tanh(jnp.cumsum(params["w"] ** 2) * x) @ params["head"]

    params = {"w": values(4), "head": values(4, 5)}
    x1, x2 = examples(4)
    planned(model, params, x1, x2, first=params, methods=JACOBIANS)


def test_scales_of_a_model_with_many_outputs_go_first_by_themselves():
    """Scales of a deep model, LoRA's for one, before a thousand outputs."""
    weights = [values(64, 64, seed=seed).astype(np.float32) for seed in range(3)]
    head = values(64, 1000).astype(np.float32)

    def model(params, x):
        for number, weight in enumerate(weights):
            x = jnp.tanh(params["scales"][number] * (x @ weight))
        return x @ head

    params = {"scales": jax.ShapeDtypeStruct((3,), jnp.float32)}
    x1 = jax.ShapeDtypeStruct((8, 64), jnp.float32)
    plan = ntkplan.plan(model, params, x1, kernel="trace", device="x86_64_cpu")
    (layer,) = plan.layers
    assert layer.order == FIRST
    assert layer.runner_up is not None
    assert layer.runner_up.order != FIRST
    assert FIRST in plan.explain("scales")
    assert "(C1" in plan.explain("scales")
    assert "spare cotangents" in layer.why
    other = ntkplan.plan(lambda p, x: model(p, x)[:, :2], params, x1)
    assert other.layers[0].order != FIRST


@pytest.mark.usefixtures("forced")
def test_formulas_and_other_sizes():
    x1, x2 = examples(4)
    with x64():
        plan = ntkplan.plan(mixed, MIXED, x1, x2, methods=JACOBIANS).at(n1=40)
        assert plan.layers[0].order == FIRST
        got = plan.compile()(MIXED, x1, x2)
        assert relative_error(got, dense_kernel(mixed, MIXED, x1, x2)) < TOLERANCE
    numbers = {"n1": 40, "n2": plan.n2, "n_outputs": 20}
    flops = plan.symbolic.total.flops
    named = {symbol: numbers[symbol.name] for symbol in flops.free_symbols}
    assert flops.subs(named) == pytest.approx(plan.cost.flops)
