"""Options with which tests compile reach the compiler, and none after the test."""

import jax
import pytest
from jax._src import compiler

from tests.quick_compiler import compiled_quickly, is_known, known_options


@pytest.fixture
def asked(monkeypatch):
    """What programs are compiled with from here on: overrides and the switch of JAX."""
    known_options()  # for which programs are compiled, once in a process
    seen = []
    usual = compiler.get_compile_options

    def get_compile_options(*arguments, **named):
        overrides = dict(named.get("env_options_overrides") or {})
        seen.append((overrides, jax.config.read("jax_disable_most_optimizations")))
        return usual(*arguments, **named)

    monkeypatch.setattr(compiler, "get_compile_options", get_compile_options)
    return seen


@pytest.mark.optimised
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of the CPU")
def test_options_are_asked_for_within_and_not_after(asked):
    with compiled_quickly():
        assert int(jax.jit(lambda x: x + 1)(2)) == 3
    assert int(jax.jit(lambda x: x + 2)(2)) == 4
    assert asked == [(known_options(), True), ({}, False)]


def test_options_that_the_compiler_does_not_have_are_left_out():
    assert is_known("xla_cpu_enable_fast_math", False)
    assert not is_known("xla_cpu_of_no_version", True)
