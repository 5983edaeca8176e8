"""Whole models, of every library, print to source that computes the same."""

from __future__ import annotations

import jax
import pytest

from ntkplan.emit.draft import Added
from tests.cases import CASES, PLAIN_CASES, problem
from tests.emit import evaluation
from tests.emit.test_body import check

# Those that JAX gives no public function for.
BY_REFERENCE: dict[str, list[str]] = {}


# Those of the libraries and the large ones are printed, and run, in other tests too.
LIGHT = [case for case in PLAIN_CASES if not case.heavy]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case.name, marks=[] if case in LIGHT else [pytest.mark.slow]
        )
        for case in CASES
    ],
)
def test_forward_pass_of_one_example(case):
    function, params, x1, _ = problem(case.name)
    example = jax.tree.map(lambda array: array[:1], x1)
    body = evaluation.traced(function, params, example)
    # The parts of the large ones are all differentiated in smaller ones.
    modes = () if case.heavy else ("reverse",)
    leaves = jax.tree.leaves((params, example))
    taps = evaluation.some_variables(body)
    result = evaluation.printed(
        body,
        after={
            variable: Added(text=f'taps["{name}"]') for variable, name in taps.items()
        },
        keep=list(taps),
    )
    assert sorted(result.references) == BY_REFERENCE.get(case.name, [])
    check(
        tuple(leaves),
        evaluation.evaluate_body(body, taps),
        evaluation.evaluate_printed(body, result),
        taps=evaluation.small_taps(taps),
        modes=modes,
        tolerance=2e-5,
    )
    plain = evaluation.printed(body)
    assert all(len(line) <= 84 for line in plain.lines)


def test_perceptron_reads_as_a_person_would_write_it():
    function, params, x1, _ = problem("plain_mlp")
    body = evaluation.traced(function, params, x1[:1])
    names = ["b0", "w0", "b1", "w1", "b2", "w2", "x"]
    result = evaluation.print_body(body, input_names=names)
    assert result.lines == (
        "h0 = jax.nn.relu(x @ w0 + b0)",
        "h1 = jax.nn.relu(h0 @ w1 + b1)",
        "h2 = h1 @ w2 + b2",
    )
    assert not result.helpers
