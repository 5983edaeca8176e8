"""What a kernel asks its compiler for: a schedule, and to be done soon."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import compiling


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def deep(params, x):
    """Convolutions, each scaled and shifted, so that sums over positions are taken."""
    for layer in params["body"]:
        x = jax.lax.conv_general_dilated(
            x,
            layer["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jnp.tanh(x * layer["scale"] + layer["shift"])
    return x.mean((1, 2)) @ params["head"]


def parameters(n_outputs):
    body = [
        {"kernel": normal(n, 3, 3, 8, 8) / 8, "scale": np.ones(8, "f"), "shift": b}
        for n, b in enumerate(np.zeros((10, 8), "f"))
    ]
    return {"body": body, "head": normal(99, 8, n_outputs)}


def compiled_bytes(plan, arguments, *, sparing):
    options = compiling.options_of(dataclasses.replace(plan.cost, in_turn=sparing))
    lowered = jax.jit(plan.compile().function).lower(*arguments)
    memory = lowered.compile(options).memory_analysis()
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return taken + memory.temp_size_in_bytes


@pytest.mark.parametrize(
    ("n", "n_outputs", "sparing"), [(3, 12, False), (12, 1, True)], ids=str
)
def test_what_is_held_less_of_is_left_to_wait(n, n_outputs, sparing):
    """All windows of nine entries, or the cotangents of all outputs of all layers."""
    if not compiling.sparing_schedule():
        pytest.skip("this compiler has one schedule")
    params, x = parameters(n_outputs), normal(1, n, 12, 12, 8)
    plan = ntkplan.plan(deep, params, x, methods="jacobian_contraction")
    assert plan.cost.in_turn is sparing
    held = compiled_bytes(plan, (params, x), sparing=sparing)
    assert held < compiled_bytes(plan, (params, x), sparing=not sparing)
    assert 0.7 < plan.cost.peak_bytes / held < 1.4


def laplacian(params, x):
    """The sum of second derivatives, for which each weight is used several times."""

    def field(x):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer)
        return x @ params[-1]

    def along(direction):
        def slope(x):
            return jax.jvp(field, (x,), (direction,))[1]

        return jax.jvp(slope, (x,), (direction,))[1]

    directions = jnp.broadcast_to(jnp.eye(x.shape[1])[:, None], (2, *x.shape))
    return jax.vmap(along)(directions).sum(0)


def test_terms_of_one_jacobian_are_not_all_held():
    """Terms of a sum are ready at once; where they are most of it, they wait."""
    if not compiling.sparing_schedule():
        pytest.skip("this compiler has one schedule")
    params = [normal(0, 2, 32), normal(1, 32, 32) / 6, normal(2, 32) / 6]
    x1, x2 = normal(3, 64, 2), normal(4, 64, 2)
    plan = ntkplan.plan(laplacian, params, x1, x2, batch_axis=0)
    assert plan.cost.in_turn
    held = compiled_bytes(plan, (params, x1, x2), sparing=True)
    assert held < compiled_bytes(plan, (params, x1, x2), sparing=False)


def test_much_is_compiled_by_way_of_mlir():
    """Little is not; what takes long to run is compiled as JAX does."""
    cost = ntkplan.plan(lambda w, x: x @ w, normal(0, 3, 2), normal(1, 4, 3)).cost
    few, many, slow = (
        compiling.options_of(dataclasses.replace(cost, n_leaves=n, seconds=seconds))
        for n, seconds in ((5, 1e-3), (50, 1e-3), (50, 1.0))
    )
    without_mlir = few.keys() - many.keys()
    if not compiling.quick_compilation():
        pytest.skip("this compiler has no such options")
    assert without_mlir == {"xla_cpu_use_fusion_emitters"}
    assert many.items() <= few.items()
    assert slow.keys() <= compiling.SOUND.keys()


def test_a_plan_counts_the_leaves_of_its_kernel():
    params, x = parameters(3), normal(1, 2, 6, 6, 8)
    assert ntkplan.plan(deep, params, x).cost.n_leaves >= 31
    plan = ntkplan.plan(deep, params, x, wrt=lambda path, leaf: "scale" in path)
    assert plan.cost.n_leaves == 10
