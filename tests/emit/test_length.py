"""Large models are short files, since what is alike in them stands there once."""

from __future__ import annotations

import jax
import pytest

import ntkplan
from benchmarks.problems.bottlenecks import resnet50


@pytest.mark.parametrize(
    ("side", "most_lines"),
    [
        pytest.param(224, 400, id="large_images"),
        pytest.param(64, 480, id="small_images"),
    ],
)
def test_a_resnet_of_161_leaves_is_a_short_file(side, most_lines):
    network = resnet50(side=side)
    params = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, side, side, 3), "float32")
    source = ntkplan.plan(network.apply, params, x, device="x86_64_cpu").source()
    assert len(source.splitlines()) < most_lines
    assert max(map(len, source.splitlines())) <= 88
