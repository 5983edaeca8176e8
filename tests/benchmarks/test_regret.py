import dataclasses
import json
import math

import jax
import numpy as np
import pytest

import ntkplan
from benchmarks import candidates, regret, regret_report, regret_statistics
from benchmarks.candidates import CHOSEN, FORCED, TUNED
from benchmarks.contest import Contest, Limits
from benchmarks.environment import environment
from benchmarks.problems import REGRET, Problem
from benchmarks.problems.perceptrons import perceptron

JACOBIAN, STRUCTURED, PRODUCTS = FORCED
LIMITS = Limits(
    rounds=2, budget_s=0.05, temp_bytes=2**30, patience_s=60, slow_factor=30.0
)


def small(name, n1=3, n2=None):
    network = perceptron(n_in=3, width=4, depth=1, n_outputs=2)
    return Problem(name=name, family="perceptron_wide", network=network, n1=n1, n2=n2)


def row_of(name, family="residual", flops=None, **medians_s):
    """Returns a row whose candidates took that long, the same in both rounds."""
    candidates = {
        candidate: {
            "median_s": value,
            "samples_s": [value, value],
            "round_calls": [1, 1],
        }
        for candidate, value in medians_s.items()
    }
    for candidate, count in (flops or {}).items():
        candidates.setdefault(candidate, {})["xla_flops"] = count
    return {
        "name": name,
        "family": family,
        "max_difference_fraction": 1e-7,
        "candidates": candidates,
    }


@pytest.fixture
def rows():
    """Two configurations; the choice is 20 % over the best in one, best in another."""
    return [
        row_of(
            "first",
            chosen=1.2,
            tuned=1.0,
            **{JACOBIAN: 2.0, STRUCTURED: 1.5, PRODUCTS: 4.0},
            flops={JACOBIAN: 10.0, STRUCTURED: 30.0, PRODUCTS: 20.0},
        ),
        row_of(
            "second",
            family="u_net",
            chosen=2.0,
            tuned=2.0,
            **{JACOBIAN: 8.0, STRUCTURED: 6.0},
            flops={JACOBIAN: 5.0, STRUCTURED: 3.0, PRODUCTS: 9.0},
        ),
    ]


def test_there_are_at_least_40_configurations_of_10_families():
    assert len({problem.name for problem in REGRET}) == len(REGRET) >= 40
    assert len({problem.family for problem in REGRET}) >= 10
    assert set(regret_statistics.UNLIKE_FAMILIES) <= {each.family for each in REGRET}
    assert any(problem.n2 is not None for problem in REGRET)
    assert {1, 256} <= {problem.n1 for problem in REGRET}


@pytest.mark.parametrize("problem", REGRET, ids=lambda problem: problem.name)
def test_every_configuration_builds_and_traces(problem):
    inputs = jax.eval_shape(lambda: problem.build().arguments)
    outputs = [jax.eval_shape(problem.network.apply, inputs[0], x) for x in inputs[1:]]
    counts = [n for n in (problem.n1, problem.n2) if n is not None]
    assert [output.shape[0] for output in outputs] == counts
    assert 1 <= outputs[0].shape[1] <= 1000
    ending = "_".join([*(f"n{n}" for n in counts), f"o{outputs[0].shape[1]}"])
    assert problem.name.endswith(f"_{ending}")


def test_regret_is_relative_to_the_best_of_all(rows):
    first, second = rows
    assert regret_statistics.best(first) == TUNED
    assert regret_statistics.regret(first, CHOSEN) == pytest.approx(0.2)
    assert regret_statistics.regret(first, JACOBIAN) == pytest.approx(1.0)
    assert regret_statistics.regret(second, CHOSEN) == 0.0
    assert regret_statistics.regret(second, PRODUCTS) is None
    assert regret_statistics.regret(second, None) is None


def test_the_incumbent_takes_the_least_operations(rows):
    assert [regret_statistics.least_flops(row) for row in rows] == [
        JACOBIAN,
        STRUCTURED,
    ]
    assert regret_statistics.least_flops(row_of("none", chosen=1.0)) is None
    found = regret_report.regrets_of(rows, regret_report.LEAST_FLOPS)
    assert found == {"first": pytest.approx(1.0), "second": pytest.approx(2.0)}


def test_the_gain_is_over_the_best_uniform_method(rows):
    assert regret_statistics.best_uniform(rows[0]) == STRUCTURED
    gains = [regret_statistics.gain(row) for row in rows]
    assert gains == [pytest.approx(1.25), pytest.approx(3.0)]
    assert regret_statistics.geometric_mean(gains) == pytest.approx(math.sqrt(3.75))


def test_paired_regret_does_not_see_what_slows_both(rows):
    quiet, noisy = [1.0, 1.1], [3.0, 3.3]
    row = row_of("noise", chosen=1.0, **{JACOBIAN: 1.0})
    row["candidates"][CHOSEN] |= {
        "samples_s": [7.0, quiet[1], noisy[1]],
        "round_calls": [1, 1],
        "median_s": 3.3,
    }
    row["candidates"][JACOBIAN] |= {
        "samples_s": [quiet[0], noisy[0], noisy[0]],
        "round_calls": [1, 2, 0],
        "median_s": 3.0,
    }
    assert regret_statistics.round_medians(row["candidates"][CHOSEN]) == [1.1, 3.3]
    assert regret_statistics.paired_regret(row, CHOSEN) == pytest.approx(0.1)
    row["candidates"][CHOSEN] |= {"round_calls": [0, 0]}
    assert regret_statistics.paired_regret(row, CHOSEN) is None


def test_a_summary_has_mean_worst_and_share_near_the_best():
    regrets = {"a": 0.0, "b": 0.05, "c": 0.4, "d": 0.15, "e": None}
    found = regret_statistics.summarise(regrets)
    assert found == regret_statistics.Summary(
        count=4,
        missing=1,
        mean=pytest.approx(0.15),
        worst=0.4,
        worst_name="c",
        near_share=0.5,
    )
    assert regret_statistics.summarise({"e": None}) is None


def answers(rows):
    return [check.passed for check in regret_report.checks(rows)]


def test_checks_pass_fail_and_do_not_answer(rows):
    good = [
        row_of(
            f"{family}{number}", family=family, chosen=1.0, tuned=1.0, **{JACOBIAN: 1.4}
        )
        for family in (*regret_statistics.UNLIKE_FAMILIES, *"abcdefg")
        for number in range(4)
    ]
    assert answers(good) == [True] * 7
    bad = [*rows, row_of("third", "transformer_tokens", chosen=2.0, **{JACOBIAN: 1.0})]
    bad[0]["candidates"][TUNED]["median_s"] = 1.1
    bad[2]["candidates"][TUNED] = {"median_s": 1.5}
    bad[2]["max_difference_fraction"] = float("nan")
    assert answers(bad) == [False] * 7
    del rows[0]["candidates"][CHOSEN], rows[0]["candidates"][TUNED]
    rows[0]["max_difference_fraction"] = None
    assert answers(rows) == [False, None, None, None, None, None, None]


def test_every_kernel_is_compared_with_every_other():
    kernels = {
        CHOSEN: np.asarray([4.0, 2.0]),
        JACOBIAN: np.asarray([4.0, 2.0]),
        PRODUCTS: np.asarray([4.0, 3.0]),
    }
    rows = {name: {} for name in kernels}
    assert regret.add_differences(rows, kernels) == 0.25
    assert rows[CHOSEN] == {"difference_fraction": 0.25, "difference_from": PRODUCTS}
    kernels[JACOBIAN] = np.asarray([np.nan, 2.0])
    assert np.isnan(regret.add_differences(rows, kernels))
    assert regret.add_differences({}, {}) is None


@pytest.mark.optimised
def test_a_slow_candidate_keeps_its_first_call_only():
    # No call is so slow, on however busy a machine, that this is spent in two rounds.
    limits = dataclasses.replace(LIMITS, budget_s=30.0)
    contest = Contest(inputs=small("slow").build(), limits=limits)
    for name in (JACOBIAN, PRODUCTS):
        contest.enter(name)
    contest.programs[JACOBIAN].first_s = 1e-3
    contest.programs[PRODUCTS].first_s = 31e-3
    contest.time()
    assert contest.rows[PRODUCTS]["samples_s"] == [31e-3]
    assert contest.rows[PRODUCTS]["round_calls"] == [0, 0]
    counts = contest.rows[JACOBIAN]["round_calls"]
    assert min(counts) >= 1
    assert sum(counts) == len(contest.rows[JACOBIAN]["samples_s"])


def test_tuned_plans_are_made_where_there_are_such(monkeypatch):
    asked = []
    real = ntkplan.plan

    def plan(*arguments, methods=None, tune=False):
        asked.append((methods, tune))
        return real(*arguments, methods=methods)

    monkeypatch.setattr(ntkplan, "plan", plan)
    assert regret.tuned_left_out() == ""
    inputs, known = small("tuned").build(), {}
    for name in (CHOSEN, STRUCTURED, TUNED):
        known[name] = candidates.prepare(name, inputs, known, patience_s=60)
    assert asked == [(None, False), ("structured_derivatives", False), (None, True)]
    assert known[TUNED].facts["same_program_as"] == CHOSEN
    assert known[TUNED].facts["xla_flops"] == known[CHOSEN].facts["xla_flops"]
    monkeypatch.setattr(ntkplan, "plan", lambda f, params, x1, methods: None)
    assert "no tune=" in regret.tuned_left_out()


@pytest.mark.optimised
def test_a_run_writes_what_the_report_reads_and_is_resumed(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        "ntkplan.tuning.cache.timings_folder", lambda: tmp_path / "timings"
    )
    out = tmp_path / "regret.json"
    problems = [small("first_n3_o2"), small("second_n3_n2_o2", n2=2)]
    results = regret.run(problems[:1], LIMITS, out, command="first")
    assert json.loads(out.read_text()) == results
    measured = results["configurations"][0]
    results = regret.run(problems, LIMITS, out, command="second", resume=True)
    assert results["configurations"][0] == measured
    assert [row["n2"] for row in results["configurations"]] == [None, 2]
    assert results["command"] == "second"
    for row in results["configurations"]:
        assert row["max_difference_fraction"] < 2e-5
        assert {CHOSEN, *FORCED} <= set(row["candidates"])
        assert (TUNED in row["candidates"]) == (not results["tuned_left_out"])
        for name, found in row["candidates"].items():
            assert "error" not in found, name
            assert found["xla_flops"] > 0
            assert regret_statistics.regret(row, name) >= 0
    text = regret_report.report(json.loads(out.read_text()))
    assert "\nfirst_n3_o2 " in text
    assert "\nsecond_n3_n2_o2 " in text
    assert "first_n3_o2: already in regret.json" in capsys.readouterr().out


def test_rows_of_another_commit_are_not_kept(tmp_path):
    out = tmp_path / "regret.json"
    facts = environment()
    assert regret.kept_rows(out, facts) == []
    rows = [{"name": "old", "git_commit": "0"}, {"name": "new"} | facts]
    out.write_text(json.dumps({"configurations": rows}))
    assert [row["name"] for row in regret.kept_rows(out, facts)] == ["new"]


def test_configurations_are_selected_by_name_and_family():
    assert regret.select("", "") == list(REGRET)
    chosen = regret.select("wide_n32_o10, tokens_n8_o10", "")
    assert [problem.name for problem in chosen] == ["wide_n32_o10", "tokens_n8_o10"]
    family = regret.select("", "u_net")
    assert {problem.family for problem in family} == {"u_net"}
    with pytest.raises(ValueError, match="no nothing; there are"):
        regret.select("nothing", "")
    with pytest.raises(ValueError, match="no nowhere; there are"):
        regret.select("", "u_net,nowhere")
