"""Large models are short files, since what is alike in them stands there once."""

from __future__ import annotations

import jax
import pytest

import ntkplan
from benchmarks.plan_times import LARGE, MEMORY_LIMIT
from benchmarks.problems.bottlenecks import resnet50

_MOST_LINES = 400
_COLUMNS = 88


def _lines(network, *arguments, **options):
    plan = ntkplan.plan(network.apply, *arguments, device="x86_64_cpu", **options)
    return plan.source().splitlines()


@pytest.mark.parametrize(
    ("side", "most_functions"),
    [pytest.param(224, 2, id="large_images"), pytest.param(64, 1, id="small_images")],
)
def test_a_resnet_of_161_leaves_is_a_short_file(side, most_functions):
    network = resnet50(side=side)
    params = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, side, side, 3), "float32")
    lines = _lines(network, params, x)
    assert len(lines) < _MOST_LINES
    assert max(map(len, lines)) <= _COLUMNS
    assert sum(line.startswith("def block") for line in lines) <= most_functions


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_models_are_short_files(name):
    problem = LARGE[name]
    arguments = jax.eval_shape(lambda: problem.build().arguments)
    lines = _lines(problem.network, *arguments, memory_limit=MEMORY_LIMIT)
    assert len(lines) < _MOST_LINES
    assert max(map(len, lines)) <= _COLUMNS
