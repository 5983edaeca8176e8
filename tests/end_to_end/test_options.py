"""Axes that neural-tangents reduced, matched pairs, parts of the parameters, shapes."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.calibration import machine
from tests.cases import jacobians, leaf_jacobians, problem
from tests.end_to_end.matrix import FLOAT32_TOLERANCE, METHODS, methods_option
from tests.models.reference import MODELS
from tests.oracles import (
    dense_kernel,
    kernel_of_jacobians,
    leaf_names,
    relative_error,
    x64,
)
from tests.reference_kernels import reference

REFERENCES = [(name, key) for name in MODELS for key in reference(name).kernels]


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("name", "key", "method"),
    [
        (*stored, method)
        for stored, method in zip(REFERENCES, itertools.cycle(METHODS), strict=False)
    ],
    ids=str,
)
def test_axes_give_what_neural_tangents_gives(name, key, method):
    stored = reference(name)
    trace_axes, diagonal_axes, which = key
    with x64():
        got = ntkplan.ntk(
            MODELS[name],
            stored.params,
            stored.x1,
            stored.x2 if which == "cross" else None,
            trace_axes=trace_axes,
            diagonal_axes=diagonal_axes,
            methods=methods_option(method, leaf_names(stored.params)),
        )
    assert relative_error(got, stored.kernels[key]) < 1e-12


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("kernel", "method"),
    [
        ("full", "chosen"),
        ("full", "mixed"),
        ("full", "structured_derivatives"),
        ("trace", "jacobian_contraction"),
        ("trace", "structured_derivatives"),
        ("diagonal", "ntk_vector_products"),
        ("diagonal", "jacobian_contraction"),
        ("sum_of_logits", "chosen"),
        ("sum_of_logits", "ntk_vector_products"),
    ],
)
def test_matched_pairs(kernel, method):
    name = "plain_mlp_on_positions"
    f, params, x1, _ = problem(name)
    x2 = x1[::-1] * 0.7
    methods = methods_option(method, leaf_names(params))
    options = {"kernel": kernel, "pairs": "matched"}
    got = ntkplan.ntk(f, params, x1, x2, methods=methods, **options)
    wanted = dense_kernel(f, params, x1, x2, **options)
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE
    got = ntkplan.ntk(f, params, x1, methods=methods, **options)
    wanted = kernel_of_jacobians(*[jacobians(name)[0]] * 2, **options)
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("plain_tied_autoencoder", {"w"}),
        ("plain_mlp", {"0/w", "2/b"}),
        ("plain_transformer_of_tokens", {"block/w_qkv", "block/g_hidden"}),
    ],
)
def test_wrt_leaves_out_leaves(name, chosen):
    f, params, x1, _ = problem(name)
    got = ntkplan.ntk(f, params, x1, wrt=lambda path, leaf: path in chosen)
    kept = [leaf for path, leaf in leaf_jacobians(name).items() if path in chosen]
    assert len(kept) == len(chosen)
    jacobian = np.concatenate(kept, axis=-1)[: len(x1)]
    wanted = kernel_of_jacobians(jacobian, jacobian)
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE


def test_example_axis_that_is_not_the_first():
    f, params, x1, x2 = problem("plain_rnn_unrolled")

    def of_time_major(params, x):
        return f(params, jnp.moveaxis(x, 1, 0))

    moved = [np.moveaxis(x, 0, 1) for x in (x1, x2)]
    got = ntkplan.ntk(of_time_major, params, *moved, batch_axis=1)
    wanted = kernel_of_jacobians(*jacobians("plain_rnn_unrolled"))
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE


@pytest.mark.parametrize("precision", ["highest", jax.lax.Precision.HIGHEST])
def test_precision_reaches_the_source(precision):
    f, params, x1, x2 = problem("plain_mlp")
    plan = ntkplan.plan(
        f, params, x1, x2, precision=precision, methods="structured_derivatives"
    )
    assert "highest" in plan.source().lower()
    got = plan.compile()(params, x1, x2)
    wanted = kernel_of_jacobians(*jacobians("plain_mlp"))
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE


def test_a_plan_and_its_kernel_are_shown_in_a_line():
    w, x = jnp.ones((3, 2)), jnp.ones((4, 3))
    for f in (lambda w, x: x @ w, lambda w, x: {"one": x @ w, "other": x @ w**2}):
        plan = ntkplan.plan(f, w, x, device="x86_64_cpu")
        for shown in (repr(plan), repr(plan.compile())):
            assert len(shown) < 250
            assert "x float32[4,3]; 6 parameters in 1 leaf; for x86_64_cpu" in shown
            assert plan.headline in shown


def test_shapes_are_enough_to_plan():
    f, params, x1, x2 = problem("plain_cnn_same_strided")

    def shapes(tree):
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)

    plan = ntkplan.plan(f, shapes(params), shapes(x1), shapes(x2))
    assert str(plan) == str(ntkplan.plan(f, params, x1, x2))
    got = plan.compile()(params, x1, x2)
    wanted = kernel_of_jacobians(*jacobians("plain_cnn_same_strided"))
    assert relative_error(got, wanted) < FLOAT32_TOLERANCE


def test_the_default_limit_is_what_the_device_that_is_present_has(monkeypatch):
    """Its profile may be of a machine with more memory; a named one is asked itself."""
    monkeypatch.setattr(machine, "_main_memory_bytes", lambda: 2**30)
    w, x = np.ones((3, 2), np.float32), np.ones((4, 3), np.float32)

    def planned(device):
        return ntkplan.plan(lambda w, x: x @ w, w, x, device=device)

    for device in (None, jax.devices("cpu")[0]):
        plan = planned(device)
        kept = 1 - plan.device.memory.scratch_margin_fraction
        assert plan.cost.memory_limit_bytes == pytest.approx(kept * 0.8 * 2**30)
    named = planned("x86_64_cpu")
    assert named.cost.memory_limit_bytes > 2**30
