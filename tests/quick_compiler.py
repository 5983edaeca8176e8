"""Compiles programs for the CPU in a fraction of the time, not as users compile them.

Two of the compiler's settings make most of the difference for small programs: kernels
are printed by way of MLIR, pass after pass, where LLVM's code could be printed at once,
and each program is cut into parts that are compiled apart. JAX has no switch for them
but `compiler_options` of a single `jax.jit`, so what it makes its options with is
replaced for a while.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
from jax._src import compiler

_SWITCH = "jax_disable_most_optimizations"
_MAKER = "get_compile_options"
_OPTIONS = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@contextlib.contextmanager
def compiled_quickly() -> Iterator[None]:
    """Within it, this process compiles quickly; those it starts, as users have it.

    Where JAX makes its options in another place, only its own switch is thrown.
    """
    options, before = known_options(), jax.config.read(_SWITCH)
    usual: Any = getattr(compiler, _MAKER, None)

    def get_compile_options(*arguments: Any, **named: Any) -> Any:
        if getattr(named.get("backend"), "platform", None) == "cpu":
            asked = named.get("env_options_overrides") or {}
            named["env_options_overrides"] = options | asked
        return usual(*arguments, **named)

    jax.config.update(_SWITCH, True)
    try:
        with mock.patch.object(compiler, _MAKER, get_compile_options, create=True):
            yield
    finally:
        jax.config.update(_SWITCH, before)


def quick_environment() -> dict[str, str]:
    """Returns the variables that have a process compile quickly from its start."""
    flags = [
        f"--{name}={str(value).lower()}" for name, value in known_options().items()
    ]
    flags = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
    return {"XLA_FLAGS": flags, _SWITCH.upper(): "1"}


@functools.cache
def known_options() -> dict[str, Any]:
    """Returns the options that this version of the compiler has."""
    return {name: value for name, value in _OPTIONS.items() if is_known(name, value)}


def is_known(name: str, value: Any) -> bool:
    """Says whether the compiler takes an option, by compiling something with it."""
    lowered = jax.jit(lambda: 0).lower()
    try:
        lowered.compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True
