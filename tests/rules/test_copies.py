"""What sweeps hold: kept values, distinct cotangents, copies by libraries."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ntkplan.rules.equation_work import DerivativeCounts
from tests.planner.test_choose import study_of


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, np.float32)


def convolution(kernel, x, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def counted(f, params, x):
    """Returns a study, its counts, its taps, and what cotangents pass to them."""
    study = study_of(f, params, x)
    counts = DerivativeCounts(
        study.graph.body.equations, shared=study.graph.shared_variables
    )
    taps = list(dict.fromkeys(tap for layer in study.layers for tap in layer.taps))
    return study, counts, taps, study.active(taps)


@pytest.mark.parametrize(
    ("second", "options", "expected"),
    [
        ((3, 3, 4, 8), {}, 0),
        # The cotangent with zeros between its positions, 7 x 7, padded to 10 x 10.
        ((3, 3, 4, 8), {"stride": 2}, 10 * 10 * 8),
        ((1, 1, 4, 8), {"stride": 2}, 8 * 8 * 8),
        ((3, 3, 1, 8), {"groups": 4}, 0),
    ],
)
def test_cotangents_of_strided_convolutions_are_copied(second, options, expected):
    """Of the second convolution alone: nothing is pulled back to the examples."""

    def f(params, x):
        inner = jnp.tanh(convolution(params[0], x, stride=1))
        return convolution(params[1], inner, **options).sum((1, 2))

    _, counts, _, active = counted(
        f, [spec(3, 3, 2, 4), spec(*second)], spec(1, 8, 8, 2)
    )
    assert counts.copied_entries(active) == expected


def test_a_cotangent_that_is_another_s_entry_by_entry_is_not_held():
    def f(params, x):
        y = x @ params["w"]
        y = jax.nn.relu(y * params["scale"] + params["shift"])
        return y @ params["head"]

    params = {"w": spec(3, 5), "scale": spec(5), "shift": spec(5), "head": spec(5, 2)}
    study, counts, taps, active = counted(f, params, spec(1, 3))
    # Those of the product, of what is scaled and shifted, and of the head.
    assert len(taps) == 3
    by_path = {layer.leaf.path: layer.taps[0] for layer in study.layers}
    bases = counts.bases(taps, active)
    assert set(bases.values()) == {by_path["shift"], by_path["head"]}
    assert by_path["scale"] is by_path["shift"]


def test_what_several_read_has_a_cotangent_of_its_own():
    def f(params, x):
        y = x @ params["w"]
        return (y * params["scale"] + jnp.sin(y)) @ params["head"]

    params = {"w": spec(3, 5), "scale": spec(5), "head": spec(5, 2)}
    _, counts, taps, active = counted(f, params, spec(1, 3))
    assert counts.bases(taps, active) == {tap: tap for tap in taps}


def test_what_is_computed_where_it_is_read_is_not_kept():
    def f(params, x):
        y = x @ params["w"]
        return jnp.tanh(y * np.arange(5.0, dtype=np.float32) + 1) @ params["head"]

    _, counts, _, active = counted(f, {"w": spec(3, 5), "head": spec(5, 2)}, spec(1, 3))
    # The product, its tangent hyperbolic, and the output.
    assert counts.kept_entries(active) == 5 + 5 + 2
