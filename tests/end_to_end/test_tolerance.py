"""`tolerance=`: sum of logits in the place of leaves, as far as the error allows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.approximation.readout import readout_paths
from ntkplan.errors import ConflictingOptionsError, UnknownOptionError
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers
from tests.oracles import dense_jacobians, kernel_of_jacobians, relative_error

N_OUTPUTS = 12


def model(params, x):
    x = jnp.tanh(x @ params["w1"])
    return jnp.tanh(x @ params["w2"]) @ params["v"] + params["c"]


@pytest.fixture(scope="module")
def problem():
    """A wide network at initialisation, where sum of logits is not far off."""
    keys = jax.random.split(jax.random.key(0), 5)
    width = 200
    params = {
        "w1": jax.random.normal(keys[0], (5, width)) / 5**0.5,
        "w2": jax.random.normal(keys[1], (width, width)) / width**0.5,
        "v": jax.random.normal(keys[2], (width, N_OUTPUTS)) / width**0.5,
        "c": jax.random.normal(keys[3], (N_OUTPUTS,)),
    }
    return params, jax.random.normal(keys[4], (16, 5))


@pytest.fixture(scope="module")
def jacobians(problem):
    params, x = problem
    return dense_jacobians(model, params, x)


@pytest.fixture(scope="module")
def generous(problem):
    """A plan whose body is approximate."""
    params, x = problem
    return ntkplan.plan(model, params, x, tolerance=0.5)


@pytest.fixture(scope="module")
def strict(problem):
    """A plan that nothing is close enough for."""
    params, x = problem
    return ntkplan.plan(model, params, x, tolerance=1e-6)


def identity_part(jacobians, kernel):
    """K, and K ⊗ I: the kernel of the sum of logits over the outputs."""
    summed = kernel_of_jacobians(*jacobians, "sum_of_logits")
    if kernel == "full":
        return summed[..., None, None] * np.eye(N_OUTPUTS)
    return summed[..., None] * np.ones(N_OUTPUTS) if kernel == "diagonal" else summed


def approximation(jacobians, paths, kernel, n2=None):
    """The kernel with K ⊗ I for some leaves, in float64."""
    parts = []
    for chosen in (lambda name: name not in paths, lambda name: name in paths):
        one = np.concatenate([j for name, j in jacobians.items() if chosen(name)], -1)
        parts.append((one, one[:n2]))
    return kernel_of_jacobians(*parts[0], kernel) + identity_part(parts[1], kernel)


def frobenius(got, wanted):
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("kernel", "crossed"), [("full", False), ("trace", True), ("diagonal", False)]
)
def test_the_kernel_is_exact_in_the_readout_and_summed_in_the_body(
    problem, jacobians, kernel, crossed
):
    params, x = problem
    x2 = x[:7] if crossed else None
    plan = ntkplan.plan(model, params, x, x2, kernel=kernel, tolerance=0.5)
    found = plan.approximation
    assert set(found.paths) == {"w1", "w2"}
    wanted = approximation(jacobians, found.paths, kernel, 7 if crossed else None)
    assert relative_error(plan.compile()(params, x, x2), wanted) < 2e-5
    assert (
        plan.cost.seconds
        < ntkplan.plan(model, params, x, x2, kernel=kernel).cost.seconds
    )


@pytest.mark.parametrize(
    ("divisor", "is_readout"),
    [
        (lambda params, x: 2.0, True),
        (lambda params, x: jnp.exp(params["c"]), True),
        (lambda params, x: 1.0 + x[:, :1] ** 2, False),
    ],
    ids=["number", "parameter", "data"],
)
def test_a_readout_may_be_divided_by_what_is_not_data(problem, divisor, is_readout):
    params, x = problem

    def f(params, x):
        return jnp.tanh(x @ params["w1"]) @ params["v"] / divisor(params, x)

    graph = build(f, params, x, batch_axis=0, wrt=None).graphs[""]
    layering = find_layers(graph)
    readout = readout_paths(layering.graph, layering.layers)
    assert ("v" in readout) == is_readout
    assert "w1" not in readout


def test_a_model_that_divides_by_a_number_may_be_approximated(problem):
    params, x = problem
    params = {name: params[name] for name in ("w1", "v")}

    def f(params, x):
        return jnp.tanh(x @ params["w1"]) @ params["v"] / 2.0

    plan = ntkplan.plan(f, params, x, tolerance=0.5)
    assert "v" not in plan.approximation.paths
    jacobians = dense_jacobians(f, params, x)
    wanted = approximation(jacobians, plan.approximation.paths, "full")
    assert relative_error(plan.compile()(params, x), wanted) < 2e-5


def test_the_error_is_that_on_the_probes(problem, jacobians, generous):
    _, x = problem
    found = generous.approximation
    probes = np.linspace(0, len(x) - 1, found.n_probes).round().astype(int)
    few = {name: jacobian[probes] for name, jacobian in jacobians.items()}
    every = np.concatenate(list(few.values()), -1)
    exact = kernel_of_jacobians(every, every, "full")
    error = frobenius(approximation(few, found.paths, "full"), exact)
    assert found.error == pytest.approx(error, rel=1e-3)
    assert found.error <= found.tolerance


def test_a_tolerance_that_is_too_small_keeps_all_exact(problem, strict):
    params, x = problem
    assert strict.approximation.paths == ()
    assert strict.approximation.trials
    assert "all exact" in str(strict)
    assert ntkplan.check(strict, model, params, x).relative_error < 2e-5


def test_a_single_leaf_may_be_all_that_the_tolerance_allows(problem, strict):
    params, x = problem
    trials = strict.approximation.trials
    errors = {trial.what: trial.error for trial in trials}
    body = errors["the body, the readout exact"]
    best = min(errors, key=lambda what: errors[what])
    assert errors[best] < body
    tolerance = 0.5 * (errors[best] + body)
    found = ntkplan.plan(model, params, x, tolerance=tolerance).approximation
    assert len(found.paths) == 1
    assert found.error <= tolerance


def test_without_a_tolerance_nothing_stands_in(problem):
    params, x = problem
    plan = ntkplan.plan(model, params, x)
    assert plan.approximation is None
    assert all(layer.method != "sum_of_logits" for layer in plan.layers)


def test_the_plan_says_what_stands_in(problem, generous):
    params, x = problem
    plan = generous
    text = str(plan)
    assert "sum of logits stands in for w1, w2" in text
    assert "6 probes" in text
    assert "saved" in text
    by_path = {layer.path: layer for layer in plan.layers}
    exact = ntkplan.plan(model, params, x)
    assert list(by_path) == [layer.path for layer in exact.layers]
    assert "stands in" in by_path["w1"].why
    assert "stands in" not in by_path["v"].why
    assert plan.symbolic.total.flops is not None


def test_a_plan_at_other_sizes_keeps_what_stands_in(problem, jacobians, generous):
    params, x = problem
    plan = generous.at(n1=9)
    assert set(plan.approximation.paths) == {"w1", "w2"}
    few = {name: jacobian[:9] for name, jacobian in jacobians.items()}
    wanted = approximation(few, plan.approximation.paths, "full")
    assert relative_error(plan.compile()(params, x[:9]), wanted) < 2e-5


def test_both_parts_share_the_memory(problem, jacobians, generous):
    """Where each takes what is quickest for it, they do not fit together."""
    params, x = problem
    limit = int(0.95 * generous.cost.peak_bytes)
    plan = ntkplan.plan(model, params, x, tolerance=0.5, memory_limit=limit)
    assert set(plan.approximation.paths) == {"w1", "w2"}
    for part, n in ((plan, 16), (plan.at(n1=9), 9)):
        assert part.cost.peak_bytes <= part.cost.memory_limit_bytes == limit
        few = {name: jacobian[:n] for name, jacobian in jacobians.items()}
        wanted = approximation(few, part.approximation.paths, "full")
        assert relative_error(part.compile()(params, x[:n]), wanted) < 2e-5


def test_what_memory_leaves_no_room_for_is_not_said_to_save_nothing(problem, generous):
    params, x = problem
    limit = int(0.8 * generous.cost.peak_bytes)
    plan = ntkplan.plan(model, params, x, tolerance=0.5, memory_limit=limit)
    assert plan.approximation.paths == ()
    assert "the body, the readout exact" in plan.approximation.too_large
    assert "no stand-in that would save time fits the memory limit" in str(plan)
    assert not generous.approximation.too_large


@pytest.mark.slow
def test_outputs_of_several_axes(problem, jacobians):
    """Full along one axis, diagonal along another."""
    params, x = problem

    def f(params, x):
        return model(params, x).reshape(-1, 3, 4)

    plan = ntkplan.plan(f, params, x, diagonal_axes=1, tolerance=0.6)
    assert plan.approximation.paths
    whole = approximation(jacobians, plan.approximation.paths, "full")
    n = len(x)
    pairs = whole.reshape(n, n, 3, 4, 3, 4)
    wanted = np.einsum("nmabac->nmabc", pairs)
    assert relative_error(plan.compile()(params, x), wanted) < 2e-5


@pytest.mark.slow
def test_every_output_of_a_tree_has_its_own_stand_ins(problem):
    params, x = problem

    def f(params, x):
        return {"all": model(params, x), "first": model(params, x)[:, :1]}

    plan = ntkplan.plan(f, params, x, tolerance=0.5)
    assert plan.outputs["all"].approximation.paths
    kernels = plan.compile()(params, x)
    assert kernels["all"].shape == (16, 16, N_OUTPUTS, N_OUTPUTS)
    assert "stands in" in str(plan)


def test_an_approximate_kernel_is_not_checked_as_if_exact(problem, generous):
    params, x = problem
    with pytest.raises(ConflictingOptionsError, match="tolerance"):
        ntkplan.check(generous, model, params, x)


def test_shapes_are_not_enough(problem):
    params, x = problem
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    with pytest.raises(ConflictingOptionsError, match="Give arrays"):
        ntkplan.plan(model, params, shape, tolerance=0.1)


@pytest.mark.parametrize("tolerance", [0, -0.1, 1.5, True, "small", float("nan")])
def test_a_tolerance_is_between_zero_and_one(problem, tolerance):
    params, x = problem
    with pytest.raises(UnknownOptionError, match="tolerance"):
        ntkplan.plan(model, params, x, tolerance=tolerance)


@pytest.mark.parametrize(
    "options", [{"kernel": "sum_of_logits"}, {"batch_axis": None}, {"tune": True}]
)
def test_what_goes_together_with_no_tolerance(problem, options):
    params, x = problem
    with pytest.raises(ConflictingOptionsError, match="tolerance"):
        ntkplan.plan(model, params, x, tolerance=0.1, **options)
