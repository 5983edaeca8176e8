"""Taps after a sum over positions: every order of them, and that planners take them."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import pytest

import ntkplan
from benchmarks.problems.convolutional import convolutional
from ntkplan.cost.device import load_profile
from ntkplan.emit.load import load
from ntkplan.emit.lower import Choice, lower
from ntkplan.emit.source import print_module
from ntkplan.options import kernel_spec
from ntkplan.planner.problem import Problem
from ntkplan.planner.shared import shared_work
from ntkplan.planner.study import Study
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers
from tests.case import N1
from tests.cases import SEED
from tests.models.pooled import CASES
from tests.oracles import (
    KERNELS,
    cast_floats,
    dense_jacobians,
    dense_kernel,
    kernel_of_jacobians,
    relative_error,
    x64,
)

BY_NAME = {case.name: case for case in CASES}
LEAVES = [(case.name, path) for case in CASES for path in case.slopes]
# The kernel, which pairs of examples, and whether there is an `x2`.
WAYS = (
    *itertools.product(KERNELS, ("all",), (False, True)),
    ("full", "matched", True),
    ("trace", "matched", False),
)
COVERING = [
    (name, path, way)
    for (name, path), way in zip(LEAVES, itertools.cycle(WAYS), strict=False)
]
REST = [
    (name, path, way)
    for name, path in LEAVES
    for way in WAYS
    if (name, path, way) not in COVERING
]


@functools.cache
def problem(name):
    """Returns `f, params, x1, x2` in float64, built once."""
    f, params, x1, x2 = BY_NAME[name].build(jax.random.key(SEED))
    return f, *(cast_floats(tree, np.float64) for tree in (params, x1, x2))


@functools.cache
def jacobians(name):
    """Returns every leaf's dense Jacobian at `x1` and `x2` together."""
    f, params, x1, x2 = problem(name)
    return dense_jacobians(f, params, np.concatenate([x1, x2]))


@functools.cache
def layering(name):
    """Returns the model's layers."""
    f, params, x1, _ = problem(name)
    return find_layers(build(f, params, x1, batch_axis=0, wrt=None).graphs[""])


def layer_of(name, path):
    """Returns the layer of one leaf."""
    layers = layering(name).layers
    return next(layer for layer in layers if layer.leaf.path == path)


def spec_of(name, kernel, pairs):
    """Returns a kernel of a model."""
    return kernel_spec(
        kernel=kernel,
        trace_axes=None,
        diagonal_axes=None,
        pairs=pairs,
        output_shape=layering(name).graph.output.shape,
        output="",
        whole_batch=False,
    )


def later_candidates(name, path, kernel, pairs):
    """Returns a leaf's candidates with later taps, and the kernel's frame."""
    spec = spec_of(name, kernel, pairs)
    study = Study(layering(name).graph, [layer_of(name, path)], spec)
    (candidates,) = study.candidates
    return [item for item in candidates if item.later], study.frame


def source_of(name, path, candidate, frame):
    """Returns the emitted module that computes one leaf's part in one way."""
    layer = candidate.layer_of(layer_of(name, path))
    program = lower(
        layering(name).reduced([layer]),
        [Choice(layer=layer, candidate=candidate, comments=(candidate.order,))],
        frame,
        params=problem(name)[1],
        batch_axis=0,
        data_access=("",),
        precision=None,
        title="One leaf.",
        notes=(),
    )
    return print_module(program)


def check_orders(name, path, way, most=None):
    """Compares candidates of a leaf, evenly spread, with its dense Jacobian.

    Raises:
        AssertionError: One is off, or none is there.
    """
    kernel, pairs, crossed = way
    _, params, x1, x2 = problem(name)
    both = jacobians(name)[path]
    first, second = both[:N1], both[N1:]
    if pairs == "matched" and crossed:
        x1, first = x1[: len(x2)], first[: len(x2)]
    wanted = kernel_of_jacobians(
        first, second if crossed else first, kernel, pairs=pairs
    )
    candidates, frame = later_candidates(name, path, kernel, pairs)
    assert candidates
    offset = LEAVES.index((name, path))
    step = 1 if most is None else max(1, len(candidates) // most)
    for candidate in candidates[offset % step :: step]:
        module = source_of(name, path, candidate, frame)
        function = load(
            module.text, constants=module.constants, references=module.references
        )["kernel"]
        got = function(params, x1, x2 if crossed else None)
        error = relative_error(got, wanted)
        assert error <= 1e-12, f"{candidate.order} is off by {error:.2e}"


@pytest.mark.parametrize(("name", "path", "way"), COVERING)
def test_some_orders_of_every_leaf(name, path, way):
    with x64():
        check_orders(name, path, way, most=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "path", "way"), COVERING)
def test_all_orders_of_every_leaf(name, path, way):
    with x64():
        check_orders(name, path, way)


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize(("name", "path", "way"), REST)
def test_some_orders_in_every_other_way(name, path, way):
    with x64():
        check_orders(name, path, way, most=4)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_which_leaves_have_later_taps(name):
    with x64():
        layers = layering(name).layers
    found = {
        layer.leaf.path: len(layer.later.stacks[0].first.factors)
        - len(layer.stacks[0].first.factors)
        for layer in layers
        if layer.later is not None
    }
    assert found == dict(BY_NAME[name].slopes)


def wide_readout(n_outputs):
    """Returns the problem `conv_mean` with more outputs, in float64."""
    f, params, x1, _ = problem("conv_mean")
    rng = np.random.default_rng(SEED)
    head = {
        "head": rng.normal(size=(3, n_outputs)),
        "head_b": rng.normal(size=n_outputs),
    }
    return f, params | head, x1


@pytest.mark.parametrize(("n1", "n_outputs"), [(16, 100), (16, 10), (2, 100)])
def test_the_planner_takes_later_taps_by_itself(n1, n_outputs):
    """Of a network with a global average the last convolution's, and not the others."""
    network = convolutional(n_outputs=n_outputs)
    params = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((n1, *network.example_shape), np.float32)
    plan = ntkplan.plan(network.apply, params, x, device="x86_64_cpu")
    later = {layer.path for layer in plan.layers if "tapped later" in layer.order}
    assert later == {"convolutions/2/weight", "convolutions/2/bias"}


def test_the_plan_and_the_source_say_so():
    with x64():
        f, params, x1 = wide_readout(30)
        plan = ntkplan.plan(f, params, x1, methods="structured_derivatives")
        text = plan.source()
    explained = plan.explain("w")
    assert "(A1 K1)" in explained
    assert "(C1 C2)(A1 A2)" in explained
    # The tap and its cotangent have no positions, and the slope is recorded. Weight and
    # bias share them.
    assert '"w": jnp.zeros(3, jnp.float64)' in text
    assert '"w_slope": w_slope' in text


def test_one_tap_fewer_makes_the_sweep_shorter():
    """All leaves that have later taps take them; nothing is pulled back further."""
    with x64():
        f, params, x1 = wide_readout(30)
        plans = [
            ntkplan.plan(
                f, params, x1, wrt=lambda path, leaf, names=names: path in names
            )
            for names in (("b", "w"), ("first", "b", "w"))
        ]
    short, long = (plan.cost.sweep_seconds for plan in plans)
    assert short < long / 2
    works = [plan.symbolic.sweep.flops for plan in plans]
    assert works[0].subs({"n1": 3, "n_outputs": 30}) < works[1].subs(
        {"n1": 3, "n_outputs": 30}
    )


def test_slopes_count_as_memory():
    """What stays alive: parameters, both copies of the kernel, and four arrays."""
    n, n_outputs = 3, 4
    with x64():
        found = layering("conv_mean")
        layer = layer_of("conv_mean", "w")
        study = Study(found.graph, [layer], spec_of("conv_mean", "full", "all"))
        asked = Problem(
            study=study,
            n1=n,
            n2=n,
            symmetric=True,
            profile=load_profile("cpu"),
            precision=None,
        )
        got = shared_work(asked, [layer.later], ()).resident_bytes
    parameters = 2 * 2 * 2 + 3 + 2 * 2 * 2 * 3 + 3 * 4 + 4
    x, activations, slope = 4 * 3, 4 * 3 * 2, 4 * 3 * 3
    cotangents = n_outputs * 3
    kernel = (n * n_outputs) ** 2
    each = x + activations + slope + cotangents
    assert got == 8 * (parameters + n * each + 2 * kernel)


def test_a_mean_of_sixteen_bit_numbers_is_taken_of_wider_ones():
    """The tap is a wider number than the activations and the slope."""
    with x64():
        f, params, x1 = wide_readout(30)
    params, x1 = (cast_floats(tree, jax.numpy.bfloat16) for tree in (params, x1))
    plan = ntkplan.plan(f, params, x1, methods="structured_derivatives")
    (order,) = (layer.order for layer in plan.layers if layer.path == "w")
    assert order.endswith("tapped later")
    got = np.asarray(plan.compile()(params, x1), np.float64)
    assert relative_error(got, dense_kernel(f, params, x1)) <= 5e-3


def test_a_batch_that_is_one_input():
    """With `batch_axis=None` the examples are positions that stay."""
    with x64():
        f, params, x1 = wide_readout(30)
        plan = ntkplan.plan(
            f, params, x1, batch_axis=None, methods="structured_derivatives"
        )
        got = plan.compile()(params, x1)
        wanted = dense_kernel(f, params, x1)
    assert "_slope" in plan.source()
    assert relative_error(got, wanted) <= 1e-12
