"""One kernel compiled in several ways, all timed in one process, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from benchmarks.measure import Timed, interleave, memory_figures, summary

ROUNDS = 9
COMPILATIONS = 3
_BUDGET_S = 2.0


def compared(
    functions: Mapping[str, Callable[..., Any]],
    options: Mapping[str, dict[str, Any]],
    arguments: tuple[Any, ...],
) -> dict[str, dict[str, Any]]:
    """Compiles and times a kernel in every way.

    Args:
        functions: What to compile, by the name of the way.
        options: The compiler's options, likewise.
        arguments: What the functions take.

    Returns:
        For every way its options, compile times, memory and samples.
    """
    programs: dict[str, Any] = {}
    compile_s: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(COMPILATIONS):
        for name, function in functions.items():
            jax.clear_caches()
            lowered = jax.jit(function).lower(*arguments)
            started_s = time.perf_counter()
            programs[name] = lowered.compile(options[name])
            compile_s[name].append(time.perf_counter() - started_s)
    timed = {
        name: Timed(function=program, arguments=arguments, budget_s=_BUDGET_S)
        for name, program in programs.items()
    }
    for each in timed.values():
        each.warm_up()
    interleave(list(timed.values()), ROUNDS)
    return {
        name: {
            "options": options[name],
            "compile_s": compile_s[name],
            "memory": memory_figures(programs[name]),
            **summary(timed[name].samples_s),
        }
        for name in functions
    }
