import dataclasses

import jax
import pytest

from ntkplan.calibration import programs
from ntkplan.calibration.budget import Budget
from ntkplan.calibration.case import Case
from ntkplan.calibration.programs import affordable, compile_cases, interleave, noise
from ntkplan.cost.work import Operation, OperationKind
from tests.calibration.clock import FakeClock, FakeProgram

CASE = Case(
    operation=Operation(kind=OperationKind.DOT),
    function=lambda x, y: (x, y),
    shapes=((2,), (2,)),
)


def test_compiling_ends_before_timing_and_timing_before_the_end():
    budget = Budget(start_s=100.0, total_s=60.0, clock=FakeClock(now_s=100.0))
    assert 100 < budget.compile_until_s < budget.time_until_s < 160


def test_no_program_is_compiled_once_the_time_for_it_is_over(monkeypatch):
    clock = FakeClock()
    budget = Budget(start_s=0.0, total_s=60.0, clock=clock)
    done = []

    def compile_one(case, arrays):
        clock.now_s += 1.0
        done.append(case)
        return FakeProgram(clock, 0.001)

    monkeypatch.setattr(programs, "compile_case", compile_one)
    monkeypatch.setattr(programs, "_COMPILERS", 1)
    cases = [CASE] * 100
    found = compile_cases(cases, None, budget)
    assert [case for case, _ in found] == done == cases[:30]


def test_what_does_not_fit_the_memory_is_left_out(monkeypatch):
    """Equal arguments at the same place are shared, and count once."""
    monkeypatch.setattr(programs, "_COMPILERS", 1)
    budget = Budget(start_s=0.0, total_s=60.0, clock=FakeClock())
    shapes = (
        ((2,), (4,)),
        ((16,), (4,)),
        ((3,), (4,)),
        ((2,), ("index", 9, 4)),
        ((2,), (5,)),
    )
    cases = [dataclasses.replace(CASE, shapes=shape) for shape in shapes]
    found = compile_cases(cases, jax.devices()[0], budget, most_bytes=60)
    assert [case for case, _ in found] == [cases[0], cases[2], cases[3]]


def test_rounds_stop_when_the_time_is_over_also_in_the_middle_of_one():
    clock = FakeClock()
    budget = Budget(start_s=0.0, total_s=100.0, clock=clock)
    several = [FakeProgram(clock, 1.0) for _ in range(10)]
    interleave(several, 1000, budget)
    assert budget.time_until_s <= clock.now_s < budget.time_until_s + 1
    assert {len(program.rounds) for program in several} == {8, 9}


def test_there_are_no_more_rounds_than_asked_for():
    clock = FakeClock()
    several = [FakeProgram(clock, 0.1) for _ in range(3)]
    steps = []
    interleave(
        several,
        4,
        Budget(start_s=0.0, total_s=100.0, clock=clock),
        lambda: steps.append(1),
    )
    assert [len(program.rounds) for program in several] == [4, 4, 4]
    assert len(steps) == 12


def test_programs_are_given_up_from_the_end_and_very_slow_ones_first():
    clock = FakeClock()
    budget = Budget(start_s=0.0, total_s=100.0, clock=clock)
    several = [FakeProgram(clock, 0.25) for _ in range(90)]
    slow = FakeProgram(clock, 5.0)
    kept = affordable([several[0], slow, *several[1:]], budget, 3)
    assert kept == several[: len(kept)]
    assert 20 < len(kept) < 90
    assert affordable(several[:5], budget, 3) == several[:5]


def test_noise_is_how_far_the_median_lies_above_the_least():
    clock = FakeClock()
    quiet = [FakeProgram(clock, 1.0) for _ in range(9)]
    loud = FakeProgram(clock, 1.0, spread=0.5)
    for program in (*quiet, loud):
        for _ in range(3):
            program.round()
    median, p90 = noise([*quiet, loud])
    assert median == 0.0
    assert p90 == pytest.approx(0.05)
    assert noise([loud]) == (0.5, 0.5)
