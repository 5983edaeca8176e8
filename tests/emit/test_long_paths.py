"""Models whose parameters have long paths print with short names, on short lines."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import pytest

import ntkplan
from ntkplan.emit.node_names import node_names

_LAYERS = (
    ("self_attention_with_relative_positions", "query_projection"),
    ("self_attention_with_relative_positions", "value_projection"),
    ("feed_forward_network", "intermediate_dense"),
)


def _model(params, x):
    encoder = params["params"]["encoder_stack"]["transformer_layer_0"]
    for holder, layer in _LAYERS:
        own = encoder[holder][layer]
        x = jnp.tanh(x @ own["kernel"] + own["bias"])
    return x @ params["params"]["classification_head"]["kernel"]


def _params():
    leaf = jax.ShapeDtypeStruct
    own = {"kernel": leaf((6, 6), "float32"), "bias": leaf((6,), "float32")}
    encoder: dict[str, dict[str, object]] = {}
    for holder, layer in _LAYERS:
        encoder.setdefault(holder, {})[layer] = own
    head = {"kernel": leaf((6, 3), "float32")}
    stack = {"transformer_layer_0": encoder}
    return {"params": {"encoder_stack": stack, "classification_head": head}}


@pytest.mark.parametrize("methods", [None, "ntk_vector_products"])
def test_names_are_the_ends_of_long_paths(methods):
    x = jax.ShapeDtypeStruct((4, 6), "float32")
    options = {"methods": methods} if methods else {}
    plan = ntkplan.plan(_model, _params(), x, device="x86_64_cpu", **options)
    source = plan.source()
    assert max(map(len, source.splitlines())) <= 88
    shift = '["query_projection_kernel"]' if methods else '["query_projection"]'
    assert shift in source
    assert "params_encoder" not in source
    assert "encoder_stack_" not in source


def test_siblings_that_differ_in_numbers_are_named_alike():
    numbers = {"first_encoder": range(2), "second_encoder": range(11)}
    paths = [
        f"{encoder}/layers/{number}/dense_projection/kernel"
        for encoder, own in numbers.items()
        for number in own
    ]
    names = node_names(paths)
    # Layer 9 of the second is the only one, yet named as the others are.
    for encoder, number in itertools.product(numbers, (0, 9)):
        path = f"{encoder}/layers/{number}/dense_projection"
        if path in names:
            assert names[path] == f"{encoder}_layers_{number}_dense_projection"
    assert len(set(names.values())) == len(names)


def test_short_paths_are_names_as_they_are():
    names = node_names(["net/dense/w", "net/dense/b", "w"])
    assert names["net/dense"] == "net_dense"
    assert names["net/dense/b"] == "net_dense_b"


def test_very_long_keys_are_shortened_only_where_they_stay_apart():
    start = "attention_of_the_encoder_with_"
    names = node_names([f"{start}{end}" for end in ("positions", "segments")])
    assert list(names.values()) == list(names)
    assert node_names([f"{start}positions"]) == {
        f"{start}positions": "attention_of_the_encoder"
    }
