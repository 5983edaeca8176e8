"""`jnp.split` of a leaf: each part meets data by the rule of its own equation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from tests.case import normal_examples, normal_params
from tests.oracles import dense_kernel, relative_error

KEY = jax.random.key(7)
METHODS = ("jacobian_contraction", "structured_derivatives", "ntk_vector_products")


def attention(params, x):
    """Queries, keys and values of one packed leaf, which is split before its use."""
    q, k, v = (x @ part for part in jnp.split(params["qkv"], 3, axis=1))
    weights = jax.nn.softmax(jnp.einsum("nsd,ntd->nst", q, k))
    return jnp.einsum("nst,ntd->nd", weights, v)


def flattened(params, x):
    """Two leaves in one vector, which is taken apart again."""
    flat = jnp.concatenate([params["w"].reshape(-1), params["b"]])
    w, b = jnp.split(flat, [params["w"].size])
    return jnp.tanh(x @ w.reshape(params["w"].shape) + b)


def unequal(params, x):
    """Parts of which one is not used, one twice, and one inside a scan."""
    first, _, last = jnp.split(params["w"], [2, 3], axis=1)

    def step(h, _):
        return jnp.tanh(h @ last @ last.T + x), None

    h, _ = lax.scan(step, x @ first @ first.T, length=3)
    return h @ first


def overlapping(params, x):
    """The whole of a leaf beside its parts."""
    left, right = jnp.split(params["w"], 2, axis=1)
    return jnp.tanh(x @ params["w"])[:, :3] * (x @ left) + x @ right


MODELS = {
    "attention": (attention, {"qkv": (4, 15)}, (3, 4), {"qkv": {"dot_general"}}),
    "flattened": (
        flattened,
        {"w": (4, 3), "b": (3,)},
        (4,),
        {"w": {"dot_general"}, "b": {"add"}},
    ),
    "unequal": (unequal, {"w": (4, 8)}, (4,), {"w": {"dot_general"}}),
    "overlapping": (
        overlapping,
        {"w": (4, 6)},
        (4,),
        {"w": {"dot_general", "slice"}},
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_kernel_is_the_oracles(name, method):
    f, shapes, example_shape, rules = MODELS[name]
    params = normal_params(KEY, **shapes)
    x1, x2 = normal_examples(KEY, *example_shape)
    plan = ntkplan.plan(f, params, x1, x2, methods=method)
    assert {layer.path: set(layer.rules) for layer in plan.layers} == rules
    got = np.asarray(plan.compile()(params, x1, x2))
    assert relative_error(got, dense_kernel(f, params, x1, x2)) < 1e-5
