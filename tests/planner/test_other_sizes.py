"""A plan for other sizes is the plan that would be made for them at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntkplan
from ntkplan.cost.formulas import seconds
from ntkplan.cost.symbols import evaluate
from ntkplan.cost.work import OperationKind, Work
from ntkplan.errors import MemoryLimitError
from ntkplan.planner.candidates import price
from ntkplan.planner.held import resident_bytes
from ntkplan.planner.request import parse_methods
from ntkplan.rules.equation_work import DerivativeCounts, count_push, count_sweep
from tests.planner.test_choose import problem_of, study_of


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, np.float32)


def deep(params, x):
    for weight, bias in params:
        x = jax.nn.gelu(x @ weight + bias)
    return x


def convolution(kernel, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers
    )


def pooled(params, x):
    for kernel in params["kernels"]:
        x = jax.nn.relu(convolution(kernel, x))
    return x.mean((1, 2)) @ params["head"]


def recurrent(params, x):
    def step(state, entry):
        return jnp.tanh(state @ params["state"] + entry @ params["entry"]), None

    state = jnp.zeros((len(x), params["state"].shape[0]))
    return lax.scan(step, state, x.swapaxes(0, 1))[0] @ params["head"]


def behind_a_bottleneck(params, x):
    return jnp.tanh(jnp.tanh(x @ params["in"]) @ params["narrow"]) @ params["out"]


MODELS = {
    "deep": (deep, [(spec(24, 24), spec(24))] * 5, (24,), {}),
    "pooled": (
        pooled,
        {
            "kernels": [spec(3, 3, 3, 16), spec(3, 3, 16, 16)],
            "head": spec(16, 5),
        },
        (12, 12, 3),
        {},
    ),
    "tiles": (
        pooled,
        {"kernels": [spec(3, 3, 3, 16), spec(3, 3, 16, 16)], "head": spec(16, 5)},
        (12, 12, 3),
        {"memory_limit": "3MB", "methods": "jacobian_contraction"},
    ),
    "refused": (
        deep,
        [(spec(64, 64), spec(64))] * 2,
        (64,),
        {"memory_limit": "430KB"},
    ),
    "recurrent": (
        recurrent,
        {"state": spec(16, 16), "entry": spec(4, 16), "head": spec(16, 3)},
        (9, 4),
        {"kernel": "trace"},
    ),
    "cut": (
        behind_a_bottleneck,
        {"in": spec(32, 64), "narrow": spec(64, 4), "out": spec(4, 200)},
        (32,),
        {},
    ),
    "pairs": (deep, [(spec(24, 24), spec(24))] * 3, (24,), {"pairs": "matched"}),
}
SIZES = ((1, None), (33, None), (2, 9), (40, 3))


def told(make, n1, n2):
    """Returns all that a plan says and does, or why there is none."""
    try:
        plan = make(n1, n2)
    except MemoryLimitError as error:
        return str(error)
    explained = [plan.explain(layer.path) for layer in plan.layers]
    # The docstring also says by which call it was first planned.
    docstring, _, code = plan.source().removeprefix('"""').partition('"""')
    said, _, _ = docstring.partition("Written by")
    assert code
    return [str(plan), said, code, *explained]


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_for_other_sizes_is_that_which_is_made_for_them(name):
    model, params, shape, options = MODELS[name]
    matched = options.get("pairs") == "matched"

    def plan(n1, n2):
        x2 = None if n2 is None else spec(n2, *shape)
        return ntkplan.plan(
            model, params, spec(n1, *shape), x2, device="x86_64_cpu", **options
        )

    first = plan(3, 3 if matched else None)
    fitting = 0
    for n1, n2 in SIZES:
        sizes = (n1, n1 if matched else n2)
        expected = told(plan, *sizes)
        assert told(first.plan_at, *sizes) == expected
        fitting += not isinstance(expected, str)
    assert fitting


@pytest.mark.parametrize(("n1", "symmetric"), [(3, True), (300, False)])
def test_candidates_cost_what_their_statements_do(n1, symmetric):
    """All at once as one by one, with memory that is new and that is not."""
    problem = problem_of(n1, 32, 10, symmetric=symmetric)
    sizes = {"n1": n1, "n2": n1, "n_outputs": 10}
    beside_bytes = resident_bytes(problem, problem.study.layers)
    for item in sum(price(problem, parse_methods(None, [])), ()):
        candidate = item.candidate
        formula, parts = candidate.work, candidate.parts
        if symmetric:
            formula, parts = candidate.symmetric_work, candidate.symmetric_parts
        (work,) = evaluate([formula], **sizes)
        held = [
            each.batch * min(each.n, problem.profile.memory.packed_columns) * each.k
            for each in work.operations
            if each.kind in (OperationKind.DOT, OperationKind.BATCHED_DOT)
            and not each.transposed
            and min(each.m, each.n) > 1
        ]
        packed_bytes = 4 * max(held, default=0)
        assert item.peak_bytes == work.peak_bytes + packed_bytes
        pending = list(work.operations)
        lengths = [count for _, count in parts]
        expected = []
        for count in (*lengths, len(pending) - sum(lengths)):
            taken = Work(
                operations=tuple(pending[:count]),
                peak_bytes=beside_bytes + work.peak_bytes,
            )
            del pending[:count]
            taken_s = seconds(taken, problem.profile, dtype="float32", precision=None)
            expected.append((taken_s, taken.flops, taken.bytes_read))
        found = item.figures
        assert sum(found.seconds) == pytest.approx(sum(each[0] for each in expected))
        assert sum(found.flops) == sum(each[1] for each in expected)
        assert list(found.seconds) == pytest.approx(
            [each[0] for each in expected][: len(found.seconds)]
        )


@pytest.mark.parametrize("name", ["deep", "pooled", "recurrent"])
def test_equations_that_are_counted_once_count_as_each_time(name):
    """Whatever was asked before, also inside of calls and loops."""
    model, params, shape, _ = MODELS[name]
    study = study_of(model, params, spec(2, *shape))
    equations = study.graph.body.equations
    shared = study.graph.shared_variables
    once = DerivativeCounts(equations, shared=shared)
    leaves = [layer.leaf.variable for layer in study.layers]
    taps = [tap for layer in study.layers for tap in layer.taps]
    for asked in (leaves, leaves[1:], leaves[-1:], taps, taps[::2], leaves):
        active = study.active(asked)
        for counted, alone in (
            (once.sweep(active), count_sweep(equations, active, shared=shared)),
            (once.push(active), count_push(equations, active, shared=shared)),
        ):
            got, expected = (each.at(n=5, columns=3) for each in (counted, alone))
            assert got.operations == expected.operations
            assert got.flops > 0
        fresh = DerivativeCounts(equations, shared=shared)
        assert once.linearized(active) == fresh.linearized(active)
