"""Times the chosen plan against every method forced and against plain JAX.

Run `python -m benchmarks.compare`; `docs/benchmarks.md` says what it writes.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntkplan
from benchmarks import candidates, compare_report
from benchmarks.command_line import (
    RESULTS,
    add_file,
    add_limits,
    limits_of,
    measured_or_read,
    write,
)
from benchmarks.contest import Contest, Limits
from benchmarks.environment import environment, matmul_precision, same_precision
from benchmarks.problems import PROBLEMS, Problem


def measure_problem(problem: Problem, limits: Limits) -> dict[str, Any]:
    """Measures every candidate on one configuration.

    Args:
        problem: The configuration.
        limits: What may be spent.

    Returns:
        A row of the results, as JSON can hold it.
    """
    started_s = time.perf_counter()
    load_before = os.getloadavg()[0]
    inputs = problem.build()
    contest = Contest(inputs=inputs, limits=limits)
    for name in candidates.NAMES:
        contest.enter(name)
    contest.time()
    worst = _add_differences(contest.rows, contest.kernels)
    contest.share()
    return {
        "name": problem.name,
        "family": problem.family,
        "n1": problem.n1,
        "n2": problem.n2,
        "n_outputs": jax.eval_shape(inputs.f, inputs.params, inputs.x1).shape[1],
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(inputs.params)),
        "max_difference_fraction": worst,
        "load_average_before": load_before,
        "took_s": time.perf_counter() - started_s,
        "candidates": contest.rows,
    }


def _add_differences(
    rows: dict[str, dict[str, Any]], kernels: dict[str, np.ndarray]
) -> float | None:
    """Compares every kernel with the plainest one that ran; returns the largest."""
    order = (*candidates.PLAIN, *candidates.NAMES)
    reference = next((name for name in order if name in kernels), None)
    if reference is None:
        return None
    expected = kernels[reference].astype(np.float64)
    scale = np.abs(expected).max()
    differences: list[float] = []
    for name, kernel in kernels.items():
        differences.append(float(np.abs(kernel - expected).max() / scale))
        rows[name]["difference_fraction"] = differences[-1]
        rows[name]["difference_from"] = reference
    # Not max(): a NaN must not lose against a number.
    return float(np.max(differences))


def warm_up() -> float:
    """Plans something small, so that imports count for no configuration.

    Returns:
        The seconds.
    """
    started_s = time.perf_counter()
    ntkplan.plan(lambda w, x: x @ w, np.ones((2, 2), "f"), np.ones((3, 2), "f"))
    return time.perf_counter() - started_s


def run(problems: Sequence[Problem], limits: Limits, out: Path) -> dict[str, Any]:
    """Measures configurations, and writes the results after each of them.

    Args:
        problems: The configurations.
        limits: What may be spent on each candidate.
        out: The file to write.

    Returns:
        What the file holds.
    """
    results: dict[str, Any] = {
        "environment": environment(),
        "matmul_precision": matmul_precision(),
        "limits": dataclasses.asdict(limits),
        "first_plan_s": warm_up(),
        "configurations": [],
    }
    for problem in problems:
        with same_precision():
            row = measure_problem(problem, limits)
        results["configurations"].append(row)
        write(results, out)
        print(f"{compare_report.line(row)}   took {row['took_s']:.1f} s", flush=True)
        jax.clear_caches()
        gc.collect()
    return results


def select(only: str, quick: bool) -> list[Problem]:
    """Returns the configurations whose name holds `only`; one of a family if quick."""
    found = [problem for problem in PROBLEMS if only in problem.name]
    if quick:
        found = list({problem.family: problem for problem in reversed(found)}.values())
        found.reverse()
    return found


def main() -> None:
    """Reads the command line; measures and writes, or reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="configurations whose name has this")
    add_limits(parser, rounds=7, budget_s=8.0, max_temp_gib=9.0, patience_s=120)
    parser.add_argument("--quick", action="store_true", help="little of everything")
    add_file(parser, "print the results")
    arguments = parser.parse_args()
    problems = select(arguments.only, arguments.quick)
    if not problems:
        names = ", ".join(problem.name for problem in PROBLEMS)
        parser.error(f"no configuration has {arguments.only!r} in its name: {names}")
    partial = "_partial" if arguments.only or arguments.quick else ""
    platform = jax.devices()[0].platform
    out = arguments.out or RESULTS / f"compare_{platform}{partial}.json"
    limits = Limits(**limits_of(arguments))
    if arguments.quick:
        limits = dataclasses.replace(limits, rounds=2, budget_s=1.0)
    results = measured_or_read(
        parser, arguments, out, lambda: run(problems, limits, out)
    )
    print(compare_report.report(results))


if __name__ == "__main__":
    main()
