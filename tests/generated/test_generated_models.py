"""Random models: every method and kernel against the dense float64 Jacobian's.

A failure shows a script of its model that can be pasted and run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import HealthCheck

from ntkplan.errors import UndecidedIndependenceWarning
from tests.generated.comparison import (
    KINDS,
    TOLERANCE,
    Comparison,
    computed,
    draw_comparisons,
    print_script,
    wanted,
)
from tests.generated.models import programs
from tests.generated.program import Program, execute
from tests.generated.scope import Model, Scope
from tests.oracles import dense_jacobian

N_DEFAULT, N_SLOW, N_PARTS = 10, 2000, 50
PER_EXAMPLE = 2
ALL = len(KINDS)
BETWEEN_CLEARINGS = 20

COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
}


@st.composite
def problems(draw: Any, count: int) -> tuple[Program, tuple[Comparison, ...]]:
    """Draws a model and the ways to compute its kernels."""
    program = draw(programs())
    scope = Scope(draw=draw, model=Model(), lead=0)
    return program, draw_comparisons(scope, program, count)


def check(program: Program, comparisons: Sequence[Comparison]) -> None:
    """Computes the kernels, and compares them with those of the dense Jacobian.

    Raises:
        AssertionError: One is off.
    """
    hypothesis.event(f"example axis: {program.form}, leaves: {program.packing}")
    namespace = execute(program)
    jacobian = dense_jacobian(namespace["f"], namespace["params"], namespace["x"])
    hypothesis.assume(np.any(jacobian))
    for comparison in comparisons:
        try:
            compare(namespace, jacobian, program, comparison)
        except Exception:
            hypothesis.note(print_script(program, comparison))
            raise


def compare(
    namespace: dict[str, Any],
    jacobian: np.ndarray,
    program: Program,
    comparison: Comparison,
) -> None:
    kernel, scale = wanted(jacobian, program, comparison)
    assert np.all(np.isfinite(kernel)), "the model has no finite kernel"
    with warnings.catch_warnings():
        # Such a model is then tested on its examples, which is what is wanted.
        warnings.simplefilter("ignore", UndecidedIndependenceWarning)
        got = computed(namespace, program, comparison)
    assert got.dtype == np.float64
    assert got.shape == kernel.shape, f"{got.shape}, wanted {kernel.shape}"
    error = np.max(np.abs(got - kernel))
    assert error <= TOLERANCE * scale, f"{comparison} is off by {error / scale:.2e}"


def test_kernels_of_random_models_are_the_oracles():
    seen = set()
    count = 0

    @hypothesis.settings(max_examples=N_DEFAULT, derandomize=True, **COMMON)
    @hypothesis.given(problem=problems(PER_EXAMPLE))
    def every(problem):
        nonlocal count
        program, comparisons = problem
        check(program, comparisons)
        count += 1
        seen.update((item.method, item.kernel) for item in comparisons)

    every()
    assert count >= N_DEFAULT
    # The sum of logits has one kernel only, and is drawn too rarely to be sure of.
    rare = {"sum_of_logits"}
    for position, every_one in enumerate(zip(*KINDS, strict=True)):
        missing = set(every_one) - {kind[position] for kind in seen} - rare
        assert not missing, f"not met: {missing}"


@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.parametrize("part", range(N_PARTS))
def test_kernels_of_many_random_models_are_the_oracles(part):
    count = 0

    @hypothesis.seed(1000 + part)
    @hypothesis.settings(max_examples=N_SLOW // N_PARTS, **COMMON)
    @hypothesis.given(problem=problems(ALL))
    def every(problem):
        nonlocal count
        count += 1
        if count % BETWEEN_CLEARINGS == 0:
            jax.clear_caches()  # else thousands of compiled programs stay
        check(*problem)

    every()
    jax.clear_caches()
