"""Activations and cotangents of both sides, as CPUs are quick with them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.planner import sides
from tests.draws import drawing
from tests.oracles import cast_floats, dense_kernel, relative_error, x64

CONSTRAINT = "with_layout_constraint"
ONE_SWEEP = "both_sides("


def attention_of_one(params, x):
    """One head of attention and a readout: cotangents have positions."""
    hidden = x["values"] @ params["embed"] + params["shift"]
    scores = jax.nn.softmax(hidden @ params["query"] @ hidden.T)
    return jnp.tanh(scores @ hidden + x["offsets"]).mean(0) @ params["head"]


attention = jax.vmap(attention_of_one, (None, 0))


def perceptron(params, x):
    return jnp.tanh(x["values"].mean(1) @ params["embed"]) @ params["head"]


def arrays(n1=3, n2=2, axis=0):
    draw = drawing()
    params = {
        "embed": draw(4, 6),
        "shift": draw(6),
        "query": draw(6, 6),
        "head": draw(6, 3),
    }
    batches = [
        {
            "values": np.moveaxis(draw(n, 5, 4), 0, axis),
            "offsets": np.moveaxis(draw(n, 5, 6), 0, axis),
        }
        for n in (n1, n2)
    ]
    return params, *batches


def is_ordered(*arguments, **options):
    plan = ntkplan.plan(*arguments, **{"device": "x86_64_cpu", **options})
    return CONSTRAINT in plan.source()


def test_cotangents_of_positions_are_ordered_on_cpus_where_memory_allows():
    params, x1, _ = arrays(64)
    assert is_ordered(attention, params, x1)
    assert not is_ordered(perceptron, params, x1)
    assert not is_ordered(attention, params, x1, device="nvidia_h100")
    needed = ntkplan.plan(attention, params, x1, device="x86_64_cpu").cost.peak_bytes
    assert not is_ordered(attention, params, x1, memory_limit=1.05 * needed)
    assert not is_ordered(attention, params, x1, memory_limit=0.5 * needed)


def test_a_jax_that_cannot_map_layouts_is_not_told_of_any(monkeypatch):
    monkeypatch.setattr(sides, "constrains_layouts", lambda: False)
    params, x1, x2 = arrays()
    assert not is_ordered(attention, params, x1)
    plan = ntkplan.plan(attention, params, x1, x2, device="x86_64_cpu")
    assert ONE_SWEEP in plan.source()
    wanted = dense_kernel(attention, params, x1, x2)
    assert relative_error(plan.compile()(params, x1, x2), wanted) < 1e-5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kernel", ["full", "trace"])
def test_one_sweep_for_both_sides(kernel, axis):
    with x64():
        params, x1, x2 = cast_floats(arrays(16, 12, axis), np.float64)
        plan = ntkplan.plan(
            jax.vmap(attention_of_one, (None, axis)),
            params,
            x1,
            x2,
            kernel=kernel,
            batch_axis=axis,
            device="x86_64_cpu",
        )
        assert ONE_SWEEP in plan.source()
        assert CONSTRAINT in plan.source()
        compute = plan.compile()
        first, second = (
            jax.tree.map(lambda array: jnp.moveaxis(array, axis, 0), x)
            for x in (x1, x2)
        )
        for given, others in (((x1, x2), (first, second)), ((x1,), (first, first))):
            wanted = dense_kernel(attention, params, *others, kernel=kernel)
            assert relative_error(compute(params, *given), wanted) < 1e-12


def test_two_sweeps_where_there_is_one_batch_or_calls_are_long():
    params, x1, x2 = arrays()
    assert ONE_SWEEP not in ntkplan.plan(attention, params, x1).source()
    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), x2)
    huge = {
        name: jax.ShapeDtypeStruct((20_000, *leaf.shape[1:]), leaf.dtype)
        for name, leaf in many.items()
    }
    plan = ntkplan.plan(
        attention, params, huge, huge, device="x86_64_cpu", memory_limit=2**45
    )
    assert plan.cost.seconds > 0.1
    assert CONSTRAINT in plan.source()
    assert ONE_SWEEP not in plan.source()


def test_ordered_kernels_are_mapped_differentiated_and_exported():
    params, x1, x2 = arrays()
    plan = ntkplan.plan(attention, params, x1, x2, device="x86_64_cpu")
    kernel = plan.compile()
    wanted = dense_kernel(attention, params, x1, x2)

    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    mapped = jax.vmap(kernel, (0, None, None))(several, x1, x2)
    assert relative_error(mapped[0], wanted) < 1e-5

    def total(scale):
        return kernel(jax.tree.map(lambda leaf: scale * leaf, params), x1, x2).sum()

    forward = jax.jacfwd(total)(1.0)
    step = 1e-2
    slope = (total(1.0 + step) - total(1.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(total)(1.0), forward, rtol=1e-4)
    np.testing.assert_allclose(forward, slope, rtol=1e-2)

    exported = plan.export(platforms="cpu")
    assert relative_error(exported(params, x1, x2), wanted) < 1e-5


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_no_array_leaves_with_another_layout(axis):
    """JAX 0.10 misreads what comes out of jit right after a constraint: a residual."""
    params, x1, x2 = arrays(9, 8)
    kernel = ntkplan.plan(attention, params, x1, x2, device="x86_64_cpu").compile()

    def total(kernel, scale):
        several = jax.tree.map(
            lambda leaf: jnp.stack([scale * leaf, 2 * scale * leaf], axis), params
        )
        return jax.vmap(kernel, (axis, None, None))(several, x1, x2).sum()

    def dense(params, x1, x2):
        sides = [
            jax.tree.leaves(jax.jacrev(attention)(params, jax.tree.map(jnp.asarray, x)))
            for x in (x1, x2)
        ]
        flat = [[leaf.reshape(*leaf.shape[:2], -1) for leaf in side] for side in sides]
        return sum(
            jnp.einsum("noz,mpz->nmop", *pair) for pair in zip(*flat, strict=True)
        )

    np.testing.assert_allclose(total(kernel, 1.0), total(dense, 1.0), rtol=1e-5)
    slope = jax.grad(total, 1)(kernel, 1.0)
    np.testing.assert_allclose(slope, jax.grad(total, 1)(dense, 1.0), rtol=1e-4)
