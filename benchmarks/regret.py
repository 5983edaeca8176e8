"""Times the planner's choice against every uniform method: how much it misses.

Run `python -m benchmarks.regret`; `docs/benchmarks.md` says what it writes.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import inspect
import itertools
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntkplan
from benchmarks import regret_report
from benchmarks.candidates import CHOSEN, FORCED, TUNED
from benchmarks.command_line import (
    RESULTS,
    add_file,
    add_limits,
    limits_of,
    measured_or_read,
    write,
)
from benchmarks.compare import warm_up
from benchmarks.contest import Contest, Limits
from benchmarks.environment import environment, matmul_precision, same_precision
from benchmarks.problems import REGRET, Problem


def tuned_left_out() -> str:
    """Returns why there is no candidate `tuned`; empty where there is one."""
    if "tune" in inspect.signature(ntkplan.plan).parameters:
        return ""
    return "ntkplan.plan takes no tune="


def measure_problem(problem: Problem, limits: Limits) -> dict[str, Any]:
    """Measures every contestant on one configuration.

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
    for name in (CHOSEN, *FORCED, *([] if tuned_left_out() else [TUNED])):
        contest.enter(name)
    contest.time()
    worst = add_differences(contest.rows, contest.kernels)
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


def add_differences(
    rows: Mapping[str, dict[str, Any]], kernels: Mapping[str, np.ndarray]
) -> float | None:
    """Compares every kernel with every other one.

    Each row gets the largest difference from another kernel, relative to the largest
    entry of all, and which one that is.

    Args:
        rows: Rows of the candidates, changed in place.
        kernels: Kernels of those that ran.

    Returns:
        The largest difference, NaN where any is; None where nothing ran.
    """
    if not kernels:
        return None
    scale = max(float(np.abs(kernel).max()) for kernel in kernels.values())
    for name in kernels:
        rows[name]["difference_fraction"] = 0.0
    for first, second in itertools.combinations(kernels, 2):
        difference = kernels[first].astype(np.float64) - kernels[second]
        fraction = float(np.abs(difference).max()) / scale
        for name, other in ((first, second), (second, first)):
            # Not max(): a NaN must not lose against a number.
            if not fraction <= rows[name]["difference_fraction"]:
                rows[name]["difference_fraction"] = fraction
                rows[name]["difference_from"] = other
    return float(np.max([rows[name]["difference_fraction"] for name in kernels]))


def run(
    problems: Sequence[Problem],
    limits: Limits,
    out: Path,
    *,
    command: str,
    resume: bool = False,
) -> dict[str, Any]:
    """Measures configurations, and writes the results after each of them.

    Args:
        problems: The configurations.
        limits: What may be spent on each candidate.
        out: The file to write.
        command: How this was called, for the file.
        resume: Whether to keep configurations that the file has of the same commit.

    Returns:
        What the file holds.
    """
    facts = environment()
    rows = kept_rows(out, facts) if resume else []
    results: dict[str, Any] = {
        "environment": facts,
        "command": command,
        "matmul_precision": matmul_precision(),
        "limits": dataclasses.asdict(limits),
        "tuned_left_out": tuned_left_out(),
        "first_plan_s": warm_up(),
        "configurations": rows,
    }
    done = {row["name"] for row in rows}
    print(regret_report.header(), flush=True)
    for problem in problems:
        if problem.name in done:
            print(f"{problem.name}: already in {out.name}", flush=True)
            continue
        with same_precision():
            row = measure_problem(problem, limits)
        rows.append(row | {"git_commit": facts["git_commit"]})
        write(results, out)
        print(f"{regret_report.line(row)}   took {row['took_s']:.1f} s", flush=True)
        jax.clear_caches()
        gc.collect()
    return results


def kept_rows(out: Path, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the configurations that a file has of the present commit.

    Args:
        out: The file; it may be missing.
        facts: The present environment.
    """
    if not out.exists():
        return []
    rows = json.loads(out.read_text(encoding="utf-8"))["configurations"]
    return [row for row in rows if row["git_commit"] == facts["git_commit"]]


def select(only: str, family: str) -> list[Problem]:
    """Returns the configurations of some names or some families.

    Args:
        only: Names with commas between them; empty for all.
        family: Families, likewise.

    Raises:
        ValueError: There is no such name or family.
    """
    names, families = _parts(only), _parts(family)
    known = {problem.name for problem in REGRET}
    for wanted, there in (
        (names, known),
        (families, {problem.family for problem in REGRET}),
    ):
        if unknown := [name for name in wanted if name not in there]:
            raise ValueError(
                f"no {', '.join(unknown)}; there are {', '.join(sorted(there))}"
            )
    return [
        problem
        for problem in REGRET
        if (not names or problem.name in names)
        and (not families or problem.family in families)
    ]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main() -> None:
    """Reads the command line; measures and writes, or reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--family", default="", help="families, likewise")
    add_limits(parser, rounds=9, budget_s=3.0, max_temp_gib=4.0, patience_s=60)
    parser.add_argument(
        "--resume", action="store_true", help="keep what the file has of this commit"
    )
    add_file(parser, "print the results")
    arguments = parser.parse_args()
    try:
        problems = select(arguments.only, arguments.family)
    except ValueError as error:
        parser.error(str(error))
    partial = "_partial" if len(problems) < len(REGRET) else ""
    platform = jax.devices()[0].platform
    out = arguments.out or RESULTS / f"regret_{platform}{partial}.json"
    limits = Limits(**limits_of(arguments), slow_factor=30.0)

    def measure() -> None:
        command = shlex.join(["python", "-m", "benchmarks.regret", *sys.argv[1:]])
        # What was timed before this run, and how, is not to decide.
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = folder
            run(problems, limits, out, command=command, resume=arguments.resume)

    print(regret_report.report(measured_or_read(parser, arguments, out, measure)))


if __name__ == "__main__":
    main()
