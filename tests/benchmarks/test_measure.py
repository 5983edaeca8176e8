import itertools
import signal
import time

import jax
import jax.numpy as jnp
import pytest

from benchmarks.measure import (
    OutOfPatienceError,
    Timed,
    interleave,
    memory_figures,
    patience,
    summary,
)

pytestmark = pytest.mark.optimised


def recorder(log, name, budget_s=60.0):
    """Returns a program that writes its name into a log when it is run."""
    return Timed(function=lambda: log.append(name), arguments=(), budget_s=budget_s)


def test_every_round_runs_every_program_in_another_order():
    log = []
    names = "abcdef"
    interleave([recorder(log, name) for name in names], rounds=4)
    in_turn = "".join(name for name, _ in itertools.groupby(log))
    again = []
    interleave([recorder(again, name) for name in names], rounds=4)
    assert all(in_turn.count(name) >= 3 for name in names)
    assert again == log
    followers = set(itertools.pairwise(in_turn))
    assert len(followers) > len(names), "the same program always follows"


def test_a_quick_program_runs_once_untimed_before_it_is_timed():
    log = []
    program = recorder(log, "quick")
    program.warm_up()
    program.round()
    assert len(log) == 1 + 1 + len(program.samples_s)


def test_a_program_without_budget_left_is_run_once():
    log = []
    slow, quick = recorder(log, "slow", budget_s=0.0), recorder(log, "quick")
    interleave([slow, quick], rounds=3)
    assert log.count("slow") == len(slow.samples_s) == 1
    assert log.count("quick") == len(quick.samples_s) >= 3


def test_the_first_call_is_no_sample_unless_it_used_up_the_budget():
    log = []
    quick, slow = recorder(log, "quick"), recorder(log, "slow", budget_s=0.0)
    assert quick.warm_up()[1] > 0
    assert quick.samples_s == []
    assert slow.warm_up()[1] == slow.samples_s[0]
    interleave([slow], rounds=3)
    assert log.count("slow") == 1


def test_warm_up_returns_the_result():
    program = Timed(
        function=jax.jit(lambda x: 2 * x), arguments=(jnp.ones(2),), budget_s=60.0
    )
    result, _ = program.warm_up()
    assert result.tolist() == [2.0, 2.0]


def test_patience_ends_what_takes_too_long_and_puts_the_handler_back():
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(OutOfPatienceError, match="not ready within 1 s"),
        patience(1),
    ):
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) is before
    with patience(30):
        pass
    assert signal.alarm(0) == 0


def test_memory_figures_are_the_compilers():
    compiled = jax.jit(lambda x: x @ x.T).lower(jnp.ones((3, 4), "f")).compile()
    figures = memory_figures(compiled)
    assert figures["argument_bytes"] == 3 * 4 * 4
    assert figures["output_bytes"] == 3 * 3 * 4
    assert "temp_bytes" in figures


def test_memory_figures_may_be_missing():
    class Silent:
        def memory_analysis(self):
            return None

    assert memory_figures(Silent()) == {}


def test_summary_keeps_every_sample_in_order():
    assert summary([4.0, 1.0, 2.0]) == {
        "median_s": 2.0,
        "minimum_s": 1.0,
        "samples_s": [4.0, 1.0, 2.0],
    }
