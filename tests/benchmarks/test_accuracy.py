import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import accuracy, accuracy_report, plan_times, resident
from benchmarks.accuracy_statistics import (
    Point,
    by_candidate,
    by_family,
    memory_points,
    time_points,
)
from benchmarks.accuracy_statistics import accuracy as accuracy_of
from benchmarks.candidates import CHOSEN, FORCED
from benchmarks.problems import Problem
from benchmarks.problems.memory_table import MEMORY, MemoryCase
from benchmarks.problems.perceptrons import perceptron

JACOBIAN, STRUCTURED, _ = FORCED
ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has /proc"
)


def point(predicted, measured, family="a", candidate=CHOSEN):
    return Point(
        name="x",
        family=family,
        candidate=candidate,
        predicted=predicted,
        measured=measured,
    )


def memory_row(predicted, measured, **other):
    compiler = {"temp_bytes": measured, "output_bytes": 0}
    row = {"name": "x", "family": "a", "candidate": CHOSEN, "compiler": compiler}
    return row | {"predicted_bytes": predicted, "measured_bytes": measured} | other


def test_accuracy_by_hand():
    points = [point(1.0, 1.0), point(3.0, 2.0), point(2.0, 4.0), point(12.0, 10.0)]
    found = accuracy_of(points)
    assert found.count == 4
    assert found.median_error == pytest.approx((0.2 + 0.5) / 2)
    assert found.p90_error == pytest.approx(0.5)
    assert found.median_ratio == pytest.approx((1.0 + 1.2) / 2)
    # Ranks 1, 3, 2, 4 against 1, 2, 3, 4: 1 - 6 * 2 / (4 * 15).
    assert found.spearman == pytest.approx(0.8)
    assert accuracy_of(points[:2]).spearman is None


def test_groups_keep_their_order_and_members():
    points = [point(1, 1, "b", "p"), point(2, 1, "a", "q"), point(4, 1, "b", "q")]
    assert {name: found.count for name, found in by_family(points).items()} == {
        "b": 2,
        "a": 1,
    }
    assert by_candidate(points)["q"].median_error == pytest.approx(2.0)


def test_times_are_those_of_distinct_plans_that_ran():
    candidates = {
        CHOSEN: {"estimated_s": 1.0, "median_s": 2.0},
        JACOBIAN: {"estimated_s": 1.0, "median_s": 2.0, "same_program_as": CHOSEN},
        STRUCTURED: {"estimated_s": 3.0, "error": "too large"},
        "tuned": {"estimated_s": 1.0, "median_s": 2.0},
    }
    row = {"name": "x", "family": "a", "candidates": candidates}
    assert time_points({"configurations": [row]}) == [point(1.0, 2.0)]


def test_memory_of_programs_that_failed_is_no_point():
    rows = [memory_row(4, 2), {"name": "y", "error": "exit status 1"}]
    assert [found.ratio for found in memory_points(rows)] == [2.0]


def planned(name="x", plan_s=1.0, again=((2, 3, 0.1),)):
    found = [{"n1": n1, "n2": n2, "plan_s": took_s} for n1, n2, took_s in again]
    row = {"name": name, "n_leaves": 2, "plan_s": plan_s, "process_s": 3.0}
    return row | {"again": found}


def answers(times, memory, planning):
    checks = accuracy_report.checks(times, memory, planning)
    return [check.passed for check in checks]


def test_checks_pass_fail_and_do_not_answer():
    times = [point(1.2, 1.0), point(2.2, 2.0), point(3.0, 3.0)]
    programs = [memory_row(250e6 * factor, 250e6) for factor in (0.8, 1.3)] * 6
    assert answers(times, programs, [planned()]) == [True] * 5
    small = memory_row(1e6, 1e3)
    assert answers(times, [*programs, small], [planned()]) == [True] * 5

    wrong = [point(3.0, 1.0), point(2.0, 2.5), point(1.0, 3.0)]
    large = memory_row(500e6, 300e6)
    slow = planned(plan_s=3.1, again=((2, 3, 0.1), (1, 1, 0.3)))
    assert answers(wrong, [*programs, large], [slow]) == [False] * 5
    assert answers(times, programs[:11], [planned()])[2] is False

    failed = {"name": "y", "error": "exit status 1"}
    without = planned() | {"again": None}
    assert answers([], [*programs, failed], [without]) == [None, None, None, True, None]
    assert answers([], [], []) == [None] * 5


def test_the_report_reads_what_a_run_writes(tmp_path, monkeypatch):
    regret = tmp_path / "regret.json"
    candidates = {CHOSEN: {"estimated_s": 1.0, "median_s": 2.0}}
    row = {"name": "x", "family": "a", "candidates": candidates}
    facts = {"git_commit": "abc"}
    regret.write_text(json.dumps({"environment": facts, "configurations": [row]}))
    rows = {
        "benchmarks.resident": {"predicted_bytes": 3e8, "measured_bytes": 3e8}
        | {"compiler": {"temp_bytes": 2e8, "output_bytes": 1e8}},
        "benchmarks.plan_times": planned(),
    }
    monkeypatch.setattr(accuracy, "in_process", lambda module, name: rows[module])
    out = tmp_path / "accuracy.json"
    accuracy.run(["planning"], regret, out, only="", command="one")
    results = accuracy.run(["time", "memory"], regret, out, only="", command="two")
    assert json.loads(out.read_text()) == results
    assert len(results["memory"]["programs"]) == len(MEMORY)
    assert len(results["planning"]["models"]) == len(plan_times.LARGE)
    assert results["time"]["measured_at"] == "abc"
    text = accuracy_report.report(results)
    assert "2 x 3: 0.100" in text
    refused = planned() | {"again": [{"n1": 1, "n2": 1, "plan_s": 0.1, "refused": ""}]}
    results["planning"]["models"] = [planned(), refused]
    text = accuracy_report.report(results)
    assert "1 x 1: 0.100 (refused)" in text
    assert "1 of 2 refused" in text
    assert "200, 100" in text
    assert "50.0%" in text


def test_the_drawing_has_both_panels_and_is_always_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    points = [point(1.0, 2.0, "a"), point(3.0, 2.0, "b")]
    results = {
        "time": {"points": [dataclasses.asdict(each) for each in points]},
        "memory": {"programs": [memory_row(3e8, 4e8)]},
    }
    drawings = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for drawing in drawings:
        accuracy.plot(results, drawing)
    for title in ("time of a kernel, ms", "peak memory, MB"):
        assert title in drawings[0].read_text()
    assert drawings[0].read_bytes() == drawings[1].read_bytes()


def test_what_fails_in_its_process_says_why():
    found = accuracy.in_process("json.tool", "no_such_file")
    assert found["error"].startswith("exit status")
    assert "no_such_file" in found["error"]


@pytest.mark.parametrize("case", MEMORY, ids=lambda case: case.name)
def test_every_program_builds_and_traces(case):
    inputs = jax.eval_shape(lambda: case.problem.build().arguments)
    output = jax.eval_shape(case.problem.network.apply, *inputs[:2])
    assert output.shape[0] == case.problem.n1
    ending = f"_n{case.problem.n2}" if case.problem.n2 is not None else ""
    assert case.problem.name.endswith(f"_n{case.problem.n1}{ending}_o{output.shape[1]}")


def test_there_are_at_least_12_programs_with_names_of_their_own():
    assert len({case.name for case in MEMORY}) == len(MEMORY) >= 12


@pytest.mark.parametrize("problem", plan_times.LARGE.values(), ids=plan_times.LARGE)
def test_large_models_trace(problem):
    inputs = jax.eval_shape(lambda: problem.build().arguments)
    output = jax.eval_shape(problem.network.apply, *inputs)
    assert problem.name.endswith(f"_n{output.shape[0]}_o{output.shape[1]}")
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(inputs[0]))
    # As published: 25.56 million, less the head's 2,049 * 990 with 10 outputs; GPT-2.
    expected = {"resnet50_n8_o10": 23_528_522, "resnet50_n1_o1000": 25_557_032}
    assert n_parameters == expected.get(problem.name, 124_439_808)


def test_planning_is_measured():
    network = perceptron(n_in=3, width=4, depth=1, n_outputs=2)
    problem = Problem(name="small", family="a", network=network, n1=3)
    found = plan_times.measure(problem, [(2, 2), (5, 3)])
    assert found["plan_s"] > 0
    assert found["n_leaves"] == 4
    assert found["again"] is None or [each["n1"] for each in found["again"]] == [2, 5]


@ON_LINUX
@pytest.mark.optimised
def test_resident_memory_is_that_of_the_kernel():
    network = perceptron(n_in=4, width=8, depth=1, n_outputs=64)
    problem = Problem(name="output", family="a", network=network, n1=48)
    found = resident.measure(MemoryCase(problem=problem, candidate=CHOSEN))
    output_bytes = 4 * 48**2 * 64**2
    assert found["compiler"]["output_bytes"] == output_bytes
    most = output_bytes + found["compiler"]["temp_bytes"]
    assert output_bytes <= found["measured_bytes"] < 1.3 * most
    assert json.loads(json.dumps(found)) == found


@ON_LINUX
def test_resident_memory_sees_an_array_come():
    resident.give_back()
    before = resident.resident_bytes("VmRSS")
    array = jnp.asarray(np.ones(2**24, np.float32))
    assert resident.resident_bytes("VmRSS") - before > 0.9 * array.nbytes
    with pytest.raises(RuntimeError, match="has no Nothing"):
        resident.resident_bytes("Nothing")
