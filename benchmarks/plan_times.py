"""Plans one large model in a fresh process and says how long that took.

Run `python -m benchmarks.plan_times NAME`; `benchmarks.accuracy` does, for every model.
Parameters and examples are shapes only, so that no memory is needed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

import ntkplan
from benchmarks.problems import Problem
from benchmarks.problems.bottlenecks import resnet50
from benchmarks.problems.language import language_model
from ntkplan.errors import MemoryLimitError

LARGE: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            name="resnet50_n8_o10",
            family="residual",
            network=resnet50(n_outputs=10),
            n1=8,
        ),
        Problem(name="resnet50_n1_o1000", family="residual", network=resnet50(), n1=1),
        Problem(
            name="gpt2_small_n8_o3",
            family="transformer_tokens",
            network=language_model(),
            n1=8,
        ),
    )
}
SIZES = ((16, 4), (3, 3), (64, 64))
"""Numbers of examples to plan again for."""
MEMORY_LIMIT = 64 * 2**30
"""Bytes that a plan may need: not what happens to be in the machine that plans."""


def measure(problem: Problem, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Plans a model, and again for other numbers of examples.

    Args:
        problem: The model and its examples, of which only shapes are made.
        sizes: Numbers of examples to plan again for.

    Returns:
        Seconds, trace included, as JSON can hold it; `again` is None where plans
        cannot be made for other sizes.
    """
    arguments = jax.eval_shape(lambda: problem.build().arguments)
    started_s = time.perf_counter()
    plan = ntkplan.plan(problem.network.apply, *arguments, memory_limit=MEMORY_LIMIT)
    plan_s = time.perf_counter() - started_s
    return {
        "name": problem.name,
        "n1": problem.n1,
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(arguments[0])),
        "n_leaves": len(plan.layers),
        "memory_limit_bytes": MEMORY_LIMIT,
        "plan_s": plan_s,
        "estimated_s": float(plan.cost.seconds),
        "estimated_peak_bytes": float(plan.cost.peak_bytes),
        "again": _again(plan, sizes),
    }


def _again(plan: Any, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]] | None:
    if not hasattr(plan, "at"):
        return None
    found: list[dict[str, Any]] = []
    for n1, n2 in sizes:
        row: dict[str, Any] = {"n1": n1, "n2": n2}
        started_s = time.perf_counter()
        try:
            plan.at(n1=n1, n2=n2)
        except MemoryLimitError as error:
            # That nothing fits is an answer as well, and has to come as soon.
            row["refused"] = str(error)[:500]
        row["plan_s"] = time.perf_counter() - started_s
        found.append(row)
    return found


def main() -> None:
    """Reads the command line; prints what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(LARGE))
    name = parser.parse_args().name
    print(json.dumps(measure(LARGE[name], SIZES)))


if __name__ == "__main__":
    main()
