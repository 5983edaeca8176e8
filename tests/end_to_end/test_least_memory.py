"""Plans for the least memory that is said to do, against what the compiler says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.errors import MemoryLimitError


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolved(kernel, x, stride=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel / (kernel.size / kernel.shape[-1]) ** 0.5,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def scaled(weights, x):
    mean = x.mean((1, 2, 3), keepdims=True)
    return (x - mean) / jnp.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5) * weights


def resnet(params, x):
    x = convolved(params["stem"], x)
    for block in params["blocks"]:
        stride = x.shape[-1] != block["second"].shape[-1]
        y = convolved(block["first"], jax.nn.relu(scaled(block["norm"], x)), 1 + stride)
        x = convolved(block["skip"], x, 1 + stride) if "skip" in block else x
        x = x + convolved(block["second"], jax.nn.relu(y))
    return x.mean((1, 2)) @ params["head"]


def resnet_params(width, n_stages, n_blocks):
    channels, blocks = width, []
    for stage in range(n_stages):
        for number in range(n_blocks):
            wide = width * 2**stage
            block = {
                "norm": jnp.ones(channels),
                "first": normal(10 * stage + number, 3, 3, channels, wide),
                "second": normal(10 * stage + number + 5, 3, 3, wide, wide),
            }
            if wide != channels:
                block["skip"] = normal(stage, 1, 1, channels, wide)
            blocks.append(block)
            channels = wide
    head = normal(3, channels, 10) / channels**0.5
    return {"stem": normal(0, 3, 3, 3, width), "blocks": blocks, "head": head}


def transformer(params, x):
    for block in params["blocks"]:
        query, key, value = (x @ weight for weight in block["attention"])
        shares = jax.nn.softmax(query @ key.transpose(0, 2, 1) / key.shape[-1] ** 0.5)
        x = x + shares @ value
        x = x + jax.nn.gelu(x @ block["hidden"]) @ block["out"]
        x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * block["norm"]
    return x.mean(1) @ params["head"]


def transformer_params(width, n_blocks):
    blocks = [
        {
            "attention": [normal(9 * number + i, width, width) for i in range(3)],
            "hidden": normal(9 * number + 3, width, 2 * width),
            "out": normal(9 * number + 4, 2 * width, width),
            "norm": jnp.ones(width),
        }
        for number in range(n_blocks)
    ]
    params = {"blocks": blocks, "head": normal(7, width, 10)}
    return jax.tree.map(lambda array: array / array.shape[0] ** 0.5, params)


CASES = {
    "few convolutions": (resnet, resnet_params(4, 2, 1), (6, 16, 16, 3)),
    "resnet18": (resnet, resnet_params(16, 4, 2), (8, 32, 32, 3)),
    "transformer": (transformer, transformer_params(64, 2), (32, 32, 64)),
}


def planned(name, limit):
    model, params, shape = CASES[name]
    x = jax.ShapeDtypeStruct(shape, "float32")
    return ntkplan.plan(model, params, x, device="x86_64_cpu", memory_limit=limit)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "few convolutions",
        pytest.param("resnet18", marks=SLOW),
        pytest.param("transformer", marks=SLOW),
    ],
)
def test_what_is_said_to_be_the_least_does(name):
    with pytest.raises(MemoryLimitError) as raised:
        planned(name, 1)
    least = raised.value.least_bytes
    plan = planned(name, least)
    assert plan.cost.peak_bytes <= least
    kernel = plan.compile(check_memory=True)
    assert kernel.memory.compiled_bytes <= least
