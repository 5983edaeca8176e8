"""What a saved file costs beside the kernel that runs in the process that planned it.

Run `python -m benchmarks.emitted`. The file holds the text that the process runs, so
that their times are the same but for noise where both are compiled with the options of
`plan.compile()`; a file that is run as it is has a compiler's defaults. What it adds is
the import. Lines are counted for large models, whose kernels are not run.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax

import ntkplan
from benchmarks.command_line import RESULTS, add_selection, selected, write
from benchmarks.environment import environment
from benchmarks.measure import Timed, interleave, summary
from benchmarks.plan_times import LARGE, MEMORY_LIMIT
from benchmarks.problems import Problem
from benchmarks.problems.regret_table import REGRET
from ntkplan.compiling import jitted

RUN = ("wide_n32_o10", "resnet18_n4_o10", "transformer_n8_o10", "tokens_n8_o10")
ROUNDS = 9
_PROBLEMS = {problem.name: problem for problem in REGRET}
BUDGET_S = 4.0
IMPORTS = 5

_IMPORT = """
import sys, time
import jax, jax.numpy, numpy
from jax import lax
sys.path.insert(0, sys.argv[1])
started_s = time.perf_counter()
import saved_kernel
print(time.perf_counter() - started_s)
"""


def compared(problem: Problem) -> dict[str, Any]:
    """Times a kernel as it is compiled in this process and as its file gives it.

    Args:
        problem: A model with examples.

    Returns:
        Samples of both, of the file's compiled with the options of this process, and of
        importing the file in fresh processes.
    """
    built = problem.build()
    plan = ntkplan.plan(problem.network.apply, *built.arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = plan.save(pathlib.Path(folder) / "saved_kernel.py")
        spec = importlib.util.spec_from_file_location("saved_kernel", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        timed = {
            name: _compiled(function, built.arguments)
            for name, function in (
                ("in_process", plan.compile()),
                ("saved", module.kernel),
                ("saved_same_options", jitted(module.kernel, plan.cost)),
            )
        }
        interleave(list(timed.values()), ROUNDS)
        imports_s = [_import_s(folder) for _ in range(IMPORTS)]
    times = {name: summary(program.samples_s) for name, program in timed.items()}
    here_s = times["in_process"]["median_s"]
    return {
        "name": problem.name,
        "lines": len(plan.source().splitlines()),
        **times,
        "ratio_of_medians": times["saved"]["median_s"] / here_s,
        "ratio_with_same_options": times["saved_same_options"]["median_s"] / here_s,
        "import": summary(imports_s),
    }


def _compiled(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Timed:
    """Compiles a kernel by a call that is not timed, and makes it ready to be."""
    jax.block_until_ready(function(*arguments))
    program = Timed(function=function, arguments=arguments, budget_s=BUDGET_S)
    program.warm_up()
    return program


def _import_s(folder: str) -> float:
    """Imports the file in a fresh process, in which JAX is imported already."""
    command = [sys.executable, "-c", _IMPORT, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def counted(problem: Problem) -> dict[str, Any]:
    """Counts the lines of a large model's file.

    Args:
        problem: The model; only its shapes are used.
    """
    arguments = jax.eval_shape(lambda: problem.build().arguments)
    plan = ntkplan.plan(problem.network.apply, *arguments, memory_limit=MEMORY_LIMIT)
    return {
        "name": problem.name,
        "n_leaves": len(plan.layers),
        "lines": len(plan.source().splitlines()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line; measures, writes the results and prints them.

    Args:
        arguments: The command line, or None for that of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    add_selection(parser, _PROBLEMS)
    out, names = selected(
        parser.parse_args(arguments), out=RESULTS / "emitted_cpu.json", all_of=RUN
    )
    results = {
        "environment": environment(),
        "rounds": ROUNDS,
        "kernels": [compared(_PROBLEMS[name]) for name in names],
        "lines": [counted(problem) for problem in LARGE.values()],
    }
    write(results, out)
    for row in results["kernels"]:
        print(
            f"{row['name']}: saved / in process {row['ratio_of_medians']:.3f}, "
            f"with the same options {row['ratio_with_same_options']:.3f}, "
            f"import {1e3 * row['import']['median_s']:.1f} ms, {row['lines']} lines"
        )
    for row in results["lines"]:
        print(f"{row['name']}: {row['lines']} lines for {row['n_leaves']} leaves")


if __name__ == "__main__":
    main()
