"""Printed bodies compute what the bodies compute, and read well."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkplan.emit.draft import Added
from tests.emit import evaluation
from tests.emit.formatter import ruff
from tests.emit.functions import ELEMENTWISE, REDUCTIONS, SHAPES, Function
from tests.emit.more_functions import ALL

FUNCTIONS: tuple[Function, ...] = (*ELEMENTWISE, *SHAPES, *REDUCTIONS, *ALL)
BY_NAME = pytest.mark.parametrize(
    "case", FUNCTIONS, ids=[function.name for function in FUNCTIONS]
)
# Taps are added in one way to all functions: every third is tried by default.
SOME_BY_NAME = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if number % 3 else [])
        for number, case in enumerate(FUNCTIONS)
    ],
)
# Those that JAX gives no public function for.
BY_REFERENCE = {
    "endless_derivatives": {"custom_jvp_call"},
}


def _random(shapes, seed: int):
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: jnp.asarray(generator.normal(size=s.shape), s.dtype), shapes
    )


def _split(arguments):
    """The arguments that can be differentiated, and how to put the others back."""
    moving = [
        index
        for index, argument in enumerate(arguments)
        if jnp.issubdtype(jnp.asarray(argument).dtype, np.inexact)
    ]

    def join(values):
        joined = list(arguments)
        for index, value in zip(moving, values, strict=True):
            joined[index] = value
        return joined

    return [arguments[index] for index in moving], join


def check(arguments, original, printed, *, taps, modes, tolerance) -> None:
    """Values and derivatives, in the inputs and the taps, of the two functions."""
    inputs, join = _split(arguments)

    def results(function):
        def moved(taps, inputs):
            outputs = function(taps, *join(inputs))
            return [
                out
                for out in outputs
                if jnp.issubdtype(jnp.asarray(out).dtype, np.inexact)
            ]

        shapes = jax.eval_shape(moved, taps, inputs)
        forward = "forward" in modes and shapes and inputs
        reverse = "reverse" in modes and shapes and inputs
        tangents = _random(jax.eval_shape(lambda *p: p, taps, inputs), 5)
        cotangents = _random(shapes, 6)

        # Much of the time goes into optimising what runs once.
        @functools.partial(
            jax.jit, compiler_options={"xla_llvm_disable_expensive_passes": True}
        )
        def everything(arguments, primals, tangents, cotangents):
            found = [function(taps, *arguments)]
            if forward:
                found.append(jax.jvp(moved, primals, tangents))
            if reverse:
                found.append(jax.vjp(moved, *primals)[1](cotangents))
            return found

        return everything(arguments, (taps, inputs), tangents, cotangents)

    evaluation.arrays_close(results(printed), results(original), tolerance)


@BY_NAME
def test_value_and_derivatives(case):
    body = evaluation.traced(case.function, *case.arguments)
    result = evaluation.printed(body)
    expected = evaluation.evaluate_body(body, {})
    printed = evaluation.evaluate_printed(body, result)
    check(
        case.arguments,
        expected,
        printed,
        taps={},
        modes=case.modes,
        tolerance=case.tolerance,
    )
    names = {name.removeprefix("call_").split("_1")[0] for name in result.references}
    assert names == BY_REFERENCE.get(case.name, set())
    assert set(result.reasons) == set(result.references)
    if case.text is not None:
        assert result.lines[0].startswith(case.text)


@SOME_BY_NAME
def test_taps(case):
    body = evaluation.traced(case.function, *case.arguments)
    tapped = evaluation.some_variables(body)
    if not tapped:
        pytest.skip("nothing to tap")
    keep = [equation.outputs[0] for equation in body.equations[::3]]
    result = evaluation.printed(
        body,
        after={
            variable: Added(text=f'taps["{name}"]', ordered=name[-1] in "13579")
            for variable, name in tapped.items()
        },
        keep=keep,
    )
    assert set(keep) <= set(result.names)
    check(
        case.arguments,
        evaluation.evaluate_body(body, tapped),
        evaluation.evaluate_printed(body, result),
        taps=evaluation.small_taps(tapped),
        modes=("reverse",) if "reverse" in case.modes else case.modes,
        tolerance=max(case.tolerance, 1e-5),
    )


@BY_NAME
def test_text_is_deterministic_and_fits(case):
    texts = []
    for _ in range(2):
        body = evaluation.traced(case.function, *case.arguments)
        result = evaluation.printed(body)
        texts.append((result.lines, result.helpers, tuple(result.constants)))
    assert texts[0] == texts[1]
    assert all("\n" not in line and len(line) <= 84 for line in texts[0][0])
    assert "0x" not in repr(texts[0])


def test_layout_is_the_formatters(tmp_path: Path):
    files = []
    for case in FUNCTIONS:
        body = evaluation.traced(case.function, *case.arguments)
        text = evaluation.source(body, evaluation.printed(body))
        files.append(tmp_path / f"{case.name}.py")
        files[-1].write_text(text)
    command = [ruff(), "format", "--isolated", "--diff", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_function_has_a_name_of_its_own():
    assert len({case.name for case in FUNCTIONS}) == len(FUNCTIONS) >= 60
