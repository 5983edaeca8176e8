"""The generator itself: what it prints runs, and it makes what it is meant to make."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck

from tests.generated import test_generated_models as generated
from tests.generated.comparison import (
    KERNELS,
    METHODS,
    Comparison,
    print_script,
    wanted,
)
from tests.generated.program import Array, Assign, Program, execute, run_source
from tests.oracles import dense_jacobian, x64

SETTINGS: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [hypothesis.Phase.generate],
}

PROGRAM = Program(
    leaves=(Array(name="w0", shape=(3, 2, 5)), Array(name="w1", shape=())),
    packing="dictionary",
    constants=(Array(name="c0", shape=(5,), positive=True),),
    x_shape=(3,),
    n_tokens=2,
    vocabulary=5,
    body=(
        Assign(target="h", expression='jnp.einsum("...a,abc->...bc", jnp.sin(x), w0)'),
        Assign(target="y", expression="h / c0 + w1 * tokens[..., None]"),
    ),
    returns="y",
    output_shape=(2, 5),
    form="vmapped",
    seed=3,
    n1=3,
    n2=2,
    forward_mode=True,
)


@pytest.mark.parametrize(
    "comparison",
    [
        Comparison(method=None, kernel="full", cross=True),
        Comparison(method="jacobian_contraction", kernel="trace"),
        Comparison(method=None, kernel="diagonal", pairs="matched", cross=True),
        Comparison(method="sum_of_logits", kernel="sum_of_logits"),
        Comparison(
            method="structured_derivatives",
            kernel="axes",
            trace_axes=(-1,),
            diagonal_axes=(1,),
            cross=True,
        ),
    ],
    ids=str,
)
def test_printed_script_runs_and_compares(comparison):
    check_script(PROGRAM, comparison, print)


@hypothesis.settings(max_examples=3, **SETTINGS)
@hypothesis.given(problem=generated.problems(1))
def test_printed_scripts_of_random_models_run(problem):
    program, comparisons = problem
    check_script(program, comparisons[0], hypothesis.note)


def check_script(
    program: Program, comparison: Comparison, show: Callable[[str], object]
) -> None:
    """Runs a script, whose kernels have to be those that the tests compare."""
    namespace = execute(program)
    jacobian = dense_jacobian(namespace["f"], namespace["params"], namespace["x"])
    kernel, scale = wanted(jacobian, program, comparison)
    script = print_script(program, comparison)
    show(script)
    with x64():
        names = run_source(script)
    np.testing.assert_allclose(names["wanted"], kernel, atol=1e-12 * scale)
    np.testing.assert_allclose(names["got"], kernel, atol=1e-10 * scale)
    assert float(names["error"]) < 1e-10


def test_wrong_kernel_is_reported_with_a_script(monkeypatch):
    def off(namespace, program, comparison):
        jacobian = dense_jacobian(namespace["f"], namespace["params"], namespace["x"])
        return wanted(jacobian, program, comparison)[0] * (1 + 1e-9)

    monkeypatch.setattr(generated, "computed", off)
    comparison = Comparison(method=None, kernel="trace")

    @hypothesis.settings(max_examples=1, **SETTINGS)
    @hypothesis.given(problem=st.just((PROGRAM, (comparison,))))
    def one(problem):
        generated.check(*problem)

    with pytest.raises(AssertionError, match="off by 1") as caught:
        one()
    assert print_script(PROGRAM, comparison) in "\n".join(caught.value.__notes__)


def test_models_hold_all_that_they_are_to_hold():
    """Drawn without being run: no step is out of reach."""
    texts = []
    kinds = collections.Counter()

    @hypothesis.settings(max_examples=1000, **SETTINGS)
    @hypothesis.given(problem=generated.problems(3))
    def draw(problem):
        program, comparisons = problem
        for comparison in comparisons:
            kinds[comparison.method, comparison.kernel] += 1
            texts.append(print_script(program, comparison))

    draw()
    text = "\n".join(texts)
    missing = [word for word in WORDS if not re.search(word, text)]
    assert not missing, f"never drawn: {missing}"
    assert {method for method, _ in kinds} == set(METHODS)
    assert {kernel for _, kernel in kinds} == set(KERNELS)


WORDS = (
    r"dot_general\(\w+, w\d",
    r"dot_general\(w\d",
    r"\(\(0,\), \(\d,\)\)\)\)",
    r"einsum\(\"\w+,\.\.\.",
    r"lhs_dilation",
    r"rhs_dilation",
    r"feature_group_count",
    r"batch_group_count",
    r"'SAME'",
    r"'VALID'",
    r"padding=\[\([^)]*-1",
    r"HWD",
    r"jnp\.take\(",
    r"one_hot",
    r"dynamic_slice\(w\d",
    r"dynamic_index_in_dim",
    r"jnp\.concatenate",
    r"jnp\.pad\(w\d",
    r"lax\.pad",
    r"jnp\.flip\(w\d",
    r"\.at\[.*set",
    r"jnp\.exp\(0\.5 \* w\d",
    r"softplus\(w\d",
    r"\+ 0\.5 \* \(w\d+ @ w\d",
    r"w\d+ \* w\d+ / jnp\.sqrt",
    r"parts\[\d",
    r"lax\.dynamic_slice\(params",
    r"params\[\d+:",
    r"jnp\.transpose\(w\d",
    r"lax\.scan\(step\d+, h\d+, w\d",
    r"lax\.scan\(.*reverse=True",
    r"lax\.scan\(.*jnp\.moveaxis.*, w\d",
    r"\n    def step\d+.*(\n        .*)*\n        .*lax\.scan",
    r"fori_loop",
    r"lax\.map\(block",
    r"associative_scan",
    r"lax\.cond",
    r"lax\.switch",
    r"jax\.checkpoint",
    r"custom_jvp",
    r"custom_vjp",
    r"jax\.(grad|hessian)",
    r"jnp\.sort",
    r"jnp\.cumsum",
    r"softmax",
    r"segment_sum",
    r"reduce_window",
    r"cholesky",
    r"jnp\.fft",
    r"pairs='matched'",
    r"trace_axes=\(",
    r"diagonal_axes=\(-",
    r"lax\.map\(lambda example",
)
