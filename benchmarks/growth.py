"""How time and memory grow with examples and outputs, under a limit of memory.

    python -m benchmarks.growth [--report] [--out FILE] [--rounds N]

Three series: examples from 8 to 512 for a perceptron and for a convolutional network,
outputs from 1 to 1,000 for a perceptron, full kernels of `x1` with itself. Every size
is planned for 2 GiB. All sizes of a series are timed in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntkplan
from benchmarks.compare_report import Check
from benchmarks.environment import environment
from benchmarks.measure import Timed, interleave, memory_figures, summary
from benchmarks.peer.machine import peaks
from benchmarks.problems.convolutional import convolutional
from benchmarks.problems.network import Network
from benchmarks.problems.perceptrons import perceptron
from benchmarks.problems.table import Problem
from benchmarks.process_memory import with_growth

DEFAULT_OUT = Path(__file__).parent / "results" / "growth_cpu.json"
LIMIT_BYTES = 2 * 2**30
_BUDGET_S = 20.0
_CLIFF = 2.0
"""Of the time, over what the work grew by, from one size to the next."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A model at several sizes.

    Attributes:
        name: Its name.
        grows: What grows: `examples` or `outputs`.
        sizes: How many of them.
        problems: The configuration at each size.
    """

    name: str
    grows: str
    sizes: tuple[int, ...]
    problems: tuple[Problem, ...]


def _series(name: str, grows: str, cases: Sequence[tuple[int, Network, int]]) -> Series:
    return Series(
        name=name,
        grows=grows,
        sizes=tuple(size for size, _, _ in cases),
        problems=tuple(
            Problem(name=f"{name}_{size}", family=name, network=network, n1=n)
            for size, network, n in cases
        ),
    )


_EXAMPLES = (8, 16, 32, 64, 128, 256, 512)
_OUTPUTS = (1, 3, 10, 30, 100, 300, 1000)
SERIES: tuple[Series, ...] = (
    _series(
        "perceptron", "examples", [(size, perceptron(), size) for size in _EXAMPLES]
    ),
    _series(
        "convolutional",
        "examples",
        [(size, convolutional(), size) for size in _EXAMPLES],
    ),
    _series(
        "perceptron_outputs",
        "outputs",
        [(size, perceptron(n_outputs=size), 8) for size in _OUTPUTS],
    ),
)


def measure(series: Series, rounds: int) -> dict[str, Any]:
    """Plans, compiles and times every size.

    Args:
        series: The model and its sizes.
        rounds: Rounds of timing.

    Returns:
        What the plan says and what was measured, as JSON can hold it.
    """
    rows: list[dict[str, Any]] = []
    programs: list[Timed] = []
    for size, problem in zip(series.sizes, series.problems, strict=True):
        inputs = problem.build()
        plan = ntkplan.plan(inputs.f, *inputs.arguments, memory_limit=LIMIT_BYTES)
        kernel: Any = plan.compile()
        compiled = kernel.lower(*inputs.arguments).compile()
        program = Timed(
            function=compiled, arguments=inputs.arguments, budget_s=_BUDGET_S
        )
        _, grown_bytes = with_growth(program.warm_up)
        programs.append(program)
        rows.append(
            {
                "size": size,
                "flops": float(plan.cost.flops),
                "bytes_moved": float(plan.cost.bytes_moved),
                "estimated_s": float(plan.cost.seconds),
                "estimated_peak_bytes": float(plan.cost.peak_bytes),
                "memory": memory_figures(compiled),
                "resident_peak_bytes": grown_bytes,
            }
        )
        print(f"{problem.name}: {program.first_s:.3f} s at first", flush=True)
    interleave(programs, rounds)
    for row, program in zip(rows, programs, strict=True):
        row.update(summary(program.samples_s))
    return {"name": series.name, "grows": series.grows, "rows": rows}


def theory_s(row: dict[str, Any], rates: dict[str, float]) -> float:
    """Returns the time that the plan's work takes at the machine's peak rates."""
    return max(
        row["flops"] / rates["flops_per_s"], row["bytes_moved"] / rates["bytes_per_s"]
    )


def compiled_bytes(row: dict[str, Any]) -> int:
    """Returns what the compiler says is needed beside arguments."""
    return row["memory"]["temp_bytes"] + row["memory"]["output_bytes"]


def checks(results: dict[str, Any]) -> list[Check]:
    """Returns the questions that the results answer, for every series."""
    found: list[Check] = []
    rates = results["peaks"]
    for series in results["series"]:
        rows = series["rows"]
        largest = max(rows, key=compiled_bytes)
        found.append(
            Check(
                question=f"{series['name']}: within the limit of memory",
                passed=compiled_bytes(largest) <= LIMIT_BYTES,
                figure=f"{compiled_bytes(largest) / 2**20:.0f} MiB at most",
            )
        )
        steps = [
            (after["median_s"] / before["median_s"])
            / (theory_s(after, rates) / theory_s(before, rates))
            for before, after in itertools.pairwise(rows)
        ]
        found.append(
            Check(
                question=f"{series['name']}: no step grows {_CLIFF:g} times as much as "
                "its work",
                passed=max(steps) <= _CLIFF,
                figure=", ".join(f"{step:.2f}" for step in steps),
            )
        )
    return found


def report(results: dict[str, Any]) -> str:
    """Returns a table for every series, and the checks."""
    lines: list[str] = []
    for series in results["series"]:
        lines += ["", f"{series['name']}, {series['grows']}:"]
        lines += [
            f"{row['size']:6d} {row['median_s'] * 1e3:10.2f} ms "
            f"{theory_s(row, results['peaks']) * 1e3:10.2f} ms at peak rates "
            f"{compiled_bytes(row) / 2**20:8.1f} MiB compiled "
            f"{row['resident_peak_bytes'] / 2**20:8.1f} resident "
            f"{row['estimated_peak_bytes'] / 2**20:8.1f} planned"
            for row in series["rows"]
        ]
    return "\n".join([*lines, "", *map(str, checks(results))])


def main() -> None:
    """Reads the command line; measures, writes, draws and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", action="store_true", help="only print and draw")
    arguments = parser.parse_args()
    if not arguments.report:
        ones = np.ones((2, 2), "f")
        ntkplan.plan(lambda w, x: x @ w, ones, ones).compile()(ones, ones)
        results: dict[str, Any] = {
            "environment": environment(),
            "limit_bytes": LIMIT_BYTES,
            "peaks": peaks(),
            "series": [],
        }
        for series in SERIES:
            results["series"].append(measure(series, arguments.rounds))
            text = json.dumps(results, indent=1) + "\n"
            arguments.out.write_text(text, encoding="utf-8")
            jax.clear_caches()
    results = json.loads(arguments.out.read_text(encoding="utf-8"))
    print(report(results))
    try:
        from benchmarks.growth_plot import draw
    except ImportError as error:
        print(f"nothing drawn: {error}; pip install -e '.[benchmarks]'")
        return
    draw(results, arguments.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
