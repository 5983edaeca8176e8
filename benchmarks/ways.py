"""Kernels compiled in several ways, all timed in one process, interleaved."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from benchmarks.command_line import RESULTS, add_selection, selected, write
from benchmarks.environment import environment
from benchmarks.measure import Timed, interleave, memory_figures, summary
from benchmarks.peer.configurations import CASES, Case

ROUNDS = 9
COMPILATIONS = 3
_BUDGET_S = 2.0
_CASES = {case.name: case for case in CASES}

Row = Mapping[str, Any]


def run(
    arguments: Sequence[str] | None,
    *,
    description: str | None,
    name: str,
    all_of: Sequence[str],
    measured: Callable[[Case], Row],
    report: Callable[[Sequence[Row]], Iterable[str]],
) -> None:
    """Reads a benchmark's command line; measures, writes the results and prints them.

    Args:
        arguments: The command line, or None for that of the process.
        description: What the benchmark says of itself.
        name: Of the file of results, without its ending.
        all_of: Names of the cases that are measured where none is selected.
        measured: Compiles and times one case.
        report: Returns the lines that are printed.
    """
    parser = argparse.ArgumentParser(description=description)
    add_selection(parser, _CASES)
    out, names = selected(
        parser.parse_args(arguments), out=RESULTS / f"{name}.json", all_of=all_of
    )
    rows = [measured(_CASES[each]) for each in names]
    write({"environment": environment(), "rounds": ROUNDS, "kernels": rows}, out)
    print("\n".join(report(rows)))


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
