"""Where a model may be cut, against taking every variable out in turn."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import pytest

from ntkplan._jax import array_shape
from ntkplan.trace.bottlenecks import MOST_BOTTLENECKS, bottlenecks, upstream_model
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers
from tests.end_to_end.test_cuts import MODELS


def graph_of(model, params, x):
    return build(model, params, x, batch_axis=0, wrt=None).graphs[""]


def is_passed_by_all(graph, start, variable):
    """Says whether no path leads to the output once a variable is taken out."""
    pending, seen = [start], {variable}
    while pending:
        at = pending.pop()
        if at is graph.output.variable:
            return False
        if at in seen:
            continue
        seen.add(at)
        for number, _ in graph.consumers(at):
            pending += graph.body.equations[number].outputs
    return True


@pytest.mark.parametrize("name", MODELS)
def test_passages_are_what_cannot_be_taken_out(name):
    model, params, (x1, _) = MODELS[name]
    graph = graph_of(model, params, x1)
    output = graph.output.variable
    starts = [leaf.variable for leaf in graph.leaves]
    found = graph.passages(output, starts)
    assert set(found) == set(starts)
    inner = {v for item in graph.body.equations for v in item.outputs} - {output}
    for start, passed in found.items():
        wanted = {v for v in inner if is_passed_by_all(graph, start, v)}
        assert set(passed) == wanted
        depth = [graph.definition(variable) for variable in passed]
        assert depth == sorted(depth)


def test_of_many_bottlenecks_those_are_kept_that_have_more_leaves_or_fewer_values():
    """Widths fall and rise: 7, 2, 5, 3, 6 features before 9 outputs."""
    widths = (4, 7, 2, 5, 3, 6, 9)
    params = [jnp.ones(pair) for pair in itertools.pairwise(widths)]

    def model(params, x):
        for weight in params:
            x = jnp.tanh(x @ weight)
        return x

    graph = graph_of(model, params, jnp.ones((1, 4)))
    layers = find_layers(graph).layers
    found = bottlenecks(graph, layers, n_basis=9)
    sizes = [item.size for item in found]
    assert sizes == [6, 3, 2]
    assert len(found) <= MOST_BOTTLENECKS
    assert [len(item.paths) for item in found] == [5, 4, 2]
    assert not bottlenecks(graph, layers, n_basis=2)


def test_the_model_before_a_bottleneck_has_its_values_as_one_axis():
    def model(params, x):
        hidden = jnp.tanh(x[..., None] * params["w"])
        return hidden.reshape(-1, 6) @ params["head"]

    params = {"w": jnp.ones(3), "head": jnp.ones((6, 8))}
    graph = graph_of(model, params, jnp.ones((1, 2)))
    layers = find_layers(graph).layers
    for item in bottlenecks(graph, layers, n_basis=8):
        for whole_batch in (False, True):
            upstream = upstream_model(graph, item, whole_batch=whole_batch)
            shape = array_shape(upstream.output.variable)
            assert shape == ((6,) if whole_batch else (1, 6))
            assert math.prod(array_shape(item.variable)) == 6
            differentiated = [x.path for x in upstream.leaves if x.differentiated]
            assert differentiated == ["w"]
    assert jax.tree.structure(params).num_leaves == len(graph.leaves)
