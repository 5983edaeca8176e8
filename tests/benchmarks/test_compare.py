import copy
import json

import jax
import numpy as np
import pytest

from benchmarks import candidates, compare, compare_report, plain
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.problems.perceptrons import perceptron
from tests import oracles

pytestmark = pytest.mark.optimised

LIMITS = compare.Limits(rounds=2, budget_s=0.2, temp_bytes=2**30, patience_s=60)


def small(n2=None):
    network = perceptron(n_in=3, width=4, depth=1, n_outputs=2)
    return Problem(name="small", family="perceptron", network=network, n1=3, n2=n2)


@pytest.fixture(scope="module")
def row():
    return compare.measure_problem(small(n2=2), LIMITS)


def test_there_are_at_least_16_configurations_with_names_of_their_own():
    assert len({problem.name for problem in PROBLEMS}) == len(PROBLEMS) >= 16


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_names_say_examples_and_outputs(problem):
    inputs = jax.eval_shape(lambda: problem.build().arguments)
    output = jax.eval_shape(problem.network.apply, *inputs[:2])
    counts = [f"n{problem.n1}"] + [f"n{problem.n2}"] * (problem.n2 is not None)
    ending = "_".join([*counts, f"o{output.shape[1]}"])
    assert problem.name.endswith(f"_{ending}")
    assert output.shape[0] == problem.n1


@pytest.mark.parametrize("n2", [None, 2])
@pytest.mark.parametrize(
    "kernel", [plain.jacobian_contraction, plain.ntk_vector_products]
)
def test_plain_kernels_are_right(kernel, n2):
    inputs = small(n2).build()
    expected = oracles.dense_kernel(inputs.f, inputs.params, inputs.x1, inputs.x2)
    found = kernel(inputs.f)(*inputs.arguments)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_every_candidate_is_measured_and_agrees(row):
    assert tuple(row["candidates"]) == candidates.NAMES
    assert row["max_difference_fraction"] < 2e-5
    for name, found in row["candidates"].items():
        assert "error" not in found, name
        assert found["minimum_s"] <= found["median_s"]
        assert found["minimum_s"] == min(found["samples_s"])
        assert found["difference_fraction"] < 2e-5
        assert found["compile_s"] > 0
        assert ("plan_s" in found) == (name not in candidates.PLAIN)


def test_rows_can_be_written_as_json(row):
    assert json.loads(json.dumps(row)) == row


def test_what_needs_too_much_memory_is_not_run():
    limits = compare.Limits(rounds=1, budget_s=0.1, temp_bytes=-1, patience_s=60)
    row = compare.measure_problem(small(), limits)
    for found in row["candidates"].values():
        assert "over the limit" in found["error"]
        assert "samples_s" not in found
    assert row["max_difference_fraction"] is None
    assert compare_report.line(row).count("error") == len(candidates.NAMES)


def test_a_wrong_kernel_shows_and_so_does_nan():
    kernels = {name: np.ones((2, 2)) for name in candidates.NAMES}
    kernels[candidates.CHOSEN] = np.asarray([[1.0, 1.0], [1.0, 1.5]])
    rows = {name: {} for name in candidates.NAMES}
    assert compare._add_differences(rows, kernels) == 0.5
    kernels[candidates.CHOSEN] = np.asarray([[1.0, 1.0], [1.0, np.nan]])
    assert np.isnan(compare._add_differences(rows, kernels))


def with_times(row, name, **medians_s):
    """Returns a row of that name whose candidates took that long."""
    changed = copy.deepcopy(row) | {"name": name}
    for candidate, median_s in medians_s.items():
        changed["candidates"][candidate]["median_s"] = median_s
    return changed


FAST = {
    "chosen": 1.4,
    "forced_jacobian_contraction": 1.0,
    "forced_structured_derivatives": 2.0,
    "forced_ntk_vector_products": 3.0,
    "plain_jacobian_contraction": 250.0,
}


def answers(rows):
    return [check.passed for check in compare_report.checks(rows)]


def test_checks_pass_and_fail_with_the_figures(row):
    perceptron_row = with_times(row, "mlp_n32_o10", **FAST)
    residual = with_times(row, "resnet18_n4_o10", **FAST)
    residual["candidates"]["chosen"]["plan_s"] = 1.5
    assert answers([perceptron_row, residual]) == [True, True, True, True]

    perceptron_row["candidates"]["plain_jacobian_contraction"]["median_s"] = 199.0
    residual["candidates"]["chosen"] |= {"median_s": 1.6, "plan_s": 2.5}
    residual["max_difference_fraction"] = float("nan")
    assert answers([perceptron_row, residual]) == [False, False, False, False]


def test_checks_do_not_answer_what_was_not_measured(row):
    without = with_times(row, "other")
    del without["candidates"]["chosen"]["median_s"]
    without["max_difference_fraction"] = None
    assert answers([without]) == [None, None, None, None]


def test_the_report_has_every_configuration_and_every_error(row):
    failed = with_times(row, "failed")
    failed["candidates"]["chosen"] = {"error": "ValueError: of no use\nmore"}
    results = {
        "environment": compare.environment(),
        "configurations": [row, failed],
    }
    text = compare_report.report(results)
    assert "\nsmall " in text
    assert "not run: failed chosen: ValueError: of no use\n" in text


def test_quick_takes_one_configuration_of_every_family():
    quick = compare.select("", quick=True)
    assert len(quick) == len({problem.family for problem in PROBLEMS})
    assert quick[0] == PROBLEMS[0]
    assert [problem.name for problem in compare.select("resnet18_n4", quick=False)] == [
        "resnet18_n4_o10"
    ]
