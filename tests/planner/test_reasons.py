"""What the table says of why a leaf has its method and not another."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import ntkplan


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def convolutional(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    for kernel in (params["first"], params["second"]):
        x = jax.nn.relu(
            jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=numbers
            )
        )
    return x.mean((1, 2)) @ params["head"]


def test_where_memory_decides_the_reason_is_the_limit():
    params = {
        "first": shape(3, 3, 3, 8),
        "second": shape(3, 3, 8, 8),
        "head": shape(8, 10),
    }
    x = shape(16, 16, 16, 3)
    free = ntkplan.plan(convolutional, params, x, device="x86_64_cpu")
    assert "memory limit" not in str(free)
    decided = 0
    for limit in ("600KiB", "1MiB", "1300KiB"):
        plan = ntkplan.plan(
            convolutional, params, x, device="x86_64_cpu", memory_limit=limit
        )
        for layer, other in zip(plan.layers, free.layers, strict=True):
            is_same = (layer.method, layer.order) == (other.method, other.order)
            assert ("to fit the memory limit" in layer.why) == (not is_same)
            decided += not is_same
            if layer.runner_up is not None and not layer.runner_up.feasible:
                assert "does not fit" in str(plan)
    assert decided


def test_an_opaque_leaf_names_the_push_that_is_its_only_rival():
    params = {"mixing": shape(3, 3), "head": shape(4, 3)}
    x = shape(6, 4)

    def model(params, x):
        return x @ params["head"] @ jnp.linalg.inv(params["mixing"])

    plan = ntkplan.plan(model, params, x, device="x86_64_cpu")
    (layer,) = (layer for layer in plan.layers if layer.path == "mixing")
    assert layer.why.startswith("opaque: ")
    assert layer.runner_up is not None
    rivals = {layer.method, layer.runner_up.method}
    assert "ntk_vector_products" in rivals
