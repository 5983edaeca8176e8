"""The search against brute force over all sets of candidates."""

from __future__ import annotations

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan.cost.device import load_profile
from ntkplan.cost.work import Work
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.options import kernel_spec
from ntkplan.planner import choose as module
from ntkplan.planner.candidates import Priced, price
from ntkplan.planner.choose import choose
from ntkplan.planner.division import decide
from ntkplan.planner.forms import Figures, Named
from ntkplan.planner.leaf_options import Options, leaf_options
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import parse_methods
from ntkplan.planner.select import select, total_seconds
from ntkplan.planner.shared import Sharing, push_at_least_s, push_price
from ntkplan.planner.study import Study
from ntkplan.trace.build import build
from ntkplan.trace.layers import find_layers


def test_the_parts_of_the_printed_total_add_up():
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

    def seconds(text):
        count, unit = text.split()
        return float(count) * units[unit]

    params, x = {"w": jnp.ones((8, 4)), "v": jnp.ones((4, 3))}, jnp.ones((5, 8))
    plan = ntkplan.plan(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"], params, x)
    (line,) = re.findall(r"^total (.*? n?u?m?s): (.*)$", str(plan), re.MULTILINE)
    parts = dict(part.split(" ", 1) for part in line[1].split(", "))
    assert set(parts) == {"call", "forward", "sweep", "contractions", "push"}
    total_s = sum(map(seconds, parts.values()))
    assert total_s == pytest.approx(seconds(line[0]), rel=0.02)
    assert plan.cost.call_seconds == pytest.approx(
        plan.device.launch.call_overhead_s, rel=1e-6
    )


def random_options(generator, n_leaves, n_options, n_shared):
    """Returns options whose statements partly have the keys of other leaves'."""
    shared = [(number, generator.uniform(1, 9)) for number in range(n_shared)]

    def option(leaf, number):
        own = n_shared + leaf * n_options + number
        chosen = generator.choice(
            n_shared, size=generator.integers(0, 3), replace=False
        )
        parts = [(own, generator.uniform(1, 9)), *(shared[i] for i in chosen)]
        keys = frozenset(key for key, _ in parts)
        candidate = Candidate(
            method=Method.STRUCTURED_DERIVATIVES,
            order=f"{leaf}.{number}",
            statements=(),
            results=(),
            work=Work(),
            symmetric_work=Work(),
        )
        seconds = (*(each for _, each in parts), 0.1)
        return Priced(
            candidate=candidate,
            named=Named(
                form=0,
                statements=(*(key for key, _ in parts), None),
                keys=keys,
                meeting=keys - {own},
                pushed=False,
            ),
            figures=Figures(
                seconds=seconds,
                flops=(0.0,) * len(seconds),
                bytes_moved=(0.0,) * len(seconds),
                peak_bytes=0.0,
                total_s=sum(seconds),
            ),
            allowed=True,
        )

    return [
        sorted(
            (option(leaf, number) for number in range(n_options)),
            key=lambda item: item.seconds,
        )
        for leaf in range(n_leaves)
    ]


def selected(options):
    return select([Options(items=tuple(items)) for items in options])


@pytest.mark.parametrize("seed", range(30))
def test_one_option_for_every_leaf(seed):
    """Every combination is compared where there are few: none is cheaper."""
    options = random_options(np.random.default_rng(seed), 4, 4, 3)
    least = min(map(total_seconds, itertools.product(*options)))
    assert total_seconds(selected(options)) == pytest.approx(least)


@pytest.mark.parametrize("seed", range(5))
def test_descent_where_there_are_many_combinations(seed):
    """No change of one leaf alone makes the choice cheaper."""
    options = random_options(np.random.default_rng(seed), 12, 5, 4)
    chosen = selected(options)
    for number, items in enumerate(options):
        for item in items:
            changed = [*chosen[:number], item, *chosen[number + 1 :]]
            assert total_seconds(changed) >= total_seconds(chosen) * (1 - 1e-6)


def perceptron(params, x):
    for name in ("first", "second"):
        x = jnp.tanh(x @ params[name]["w"] + params[name]["b"])
    return x @ params["head"]


def problem_of(n1, width, n_outputs, *, symmetric=True):
    def spec(*shape):
        return jax.ShapeDtypeStruct(shape, np.float32)

    params = {
        "first": {"w": spec(8, width), "b": spec(width)},
        "second": {"w": spec(width, width), "b": spec(width)},
        "head": spec(width, n_outputs),
    }
    return Problem(
        study=study_of(perceptron, params, spec(n1, 8)),
        n1=n1,
        n2=n1,
        symmetric=symmetric,
        profile=load_profile("x86_64_cpu"),
        precision=None,
    )


def study_of(function, params, x):
    """Returns what there is to choose from for a model's full kernel."""
    model = build(function, params, x, batch_axis=0, wrt=None)
    ((_, graph),) = model.graphs.items()
    layering = find_layers(graph)
    kernel = kernel_spec(
        output_shape=graph.output.shape,
        output="",
        kernel="full",
        trace_axes=None,
        diagonal_axes=None,
        pairs="all",
        whole_batch=False,
    )
    return Study(layering.graph, layering.layers, kernel)


@pytest.mark.parametrize(
    ("n1", "width", "n_outputs"), [(1, 4, 60), (4, 16, 10), (16, 64, 2), (2, 128, 40)]
)
def test_divisions_into_tapped_and_pushed_leaves(n1, width, n_outputs):
    """All are compared for a model of few leaves; a mixed one has to gain more."""
    problem = problem_of(n1, width, n_outputs)
    priced = price(problem, parse_methods(None, []))
    n_leaves = len(priced)
    costs = {}
    for count in range(n_leaves + 1):
        for pushed in itertools.combinations(range(n_leaves), count):
            decision, _ = decide(
                problem,
                Sharing.at_once(problem),
                leaf_options(priced),
                frozenset(pushed),
                math.inf,
            )
            assert decision is not None
            mixed = 0 < count < n_leaves
            gain = module._MIXING_GAIN if mixed else 1.0
            costs[pushed] = decision.cost.seconds * gain
    chosen = choose(problem, priced, math.inf)
    assert chosen.exhaustive
    found = tuple(i for i, item in enumerate(chosen.chosen) if item.pushed)
    assert costs[found] == pytest.approx(min(costs.values()))


def test_a_search_that_is_not_exhaustive_says_so():
    def spec(*shape):
        return jax.ShapeDtypeStruct(shape, np.float32)

    def deep(params, x):
        for weight in params:
            x = jnp.tanh(x @ weight)
        return x

    few = ntkplan.plan(deep, [spec(4, 4)] * 3, spec(2, 4))
    many = ntkplan.plan(deep, [spec(4, 4)] * 9, spec(2, 4))
    assert "only the likely were compared" not in str(few)
    assert "only the likely were compared" in str(many)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("n1", "n_outputs"), [(1, 60), (16, 2)])
def test_no_push_is_quicker_than_its_bounds(n1, n_outputs, symmetric):
    """What is known of a push before it is counted; each bound closer than the last."""
    problem = problem_of(n1, 16, n_outputs, symmetric=symmetric)
    layers = problem.study.layers
    for pushed in (layers[:1], layers[2:4], layers):
        for rows in (1, 3):
            first, second = push_at_least_s(problem, pushed, rows=rows)
            assert 0 < first < second
            assert second <= push_price(problem, pushed, rows=rows).seconds


@pytest.mark.parametrize(
    ("n1", "n_outputs", "method"),
    [(32, 4, "structured_derivatives"), (5, 1000, "ntk_vector_products")],
)
def test_bounds_leave_out_no_division_that_would_be_taken(
    n1, n_outputs, method, monkeypatch
):
    """The choice for a model of many leaves is the same where every one is priced."""

    def spec(*shape):
        return jax.ShapeDtypeStruct(shape, np.float32)

    def deep(params, x):
        for weight in params:
            x = jnp.tanh(x @ weight)
        return x

    def planned():
        params = [spec(24, 24)] * 8 + [spec(24, n_outputs)]
        return ntkplan.plan(deep, params, spec(n1, 24), device="x86_64_cpu")

    bounded = planned()
    priced = []

    def never(search, pushed, needed_gain):
        priced.append(pushed)
        return False

    monkeypatch.setattr(module._Search, "_is_hopeless", never)
    every = planned()
    assert len(priced) > 6
    assert every.layers[0].method == method
    assert every.layers == bounded.layers
    assert every.cost == bounded.cost
