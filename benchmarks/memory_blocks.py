"""What it is worth that kernels have their memory in blocks that the C library keeps.

Run `python -m benchmarks.memory_blocks`. Every kernel is compiled as its plan asks for,
and with all temporaries in one block; see `ntkplan.compiling.kept_blocks`. Each runs in
processes of its own, which take turns: memory that one program has given back, another
in the same process would find. Linux counts the pages that calls had to wait for.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import jax

import ntkplan
from benchmarks.command_line import RESULTS, add_selection, selected, write
from benchmarks.environment import environment
from benchmarks.measure import memory_figures, summary
from benchmarks.peer.configurations import CASES, Case
from benchmarks.regret_statistics import geometric_mean
from ntkplan.compiling import kept_blocks, options_of

RUN = (
    "mlp_n16_o100:full:self",
    "mlp_n16_o100:full:cross",
    "cnn_average_n16_o10:full:cross",
    "cnn_flatten_n16_o10:full:cross",
    "resnet18_w16_n4_o10:full:cross",
    "resnet18_w16_n16_o1:full:self",
    "resnet18_w16_n16_o1:full:cross",
    "gpt2_4_blocks_n8_o3:full:cross",
)
WAYS = ("one", "blocks")
ROUNDS = 2
_WARM_CALLS = 3
_TIMED_S = 4.0
_MOST_CALLS = 40
_CASES = {case.name: case for case in CASES}


def measured(case: Case, way: str) -> dict[str, Any]:
    """Compiles and times a kernel in this process.

    Args:
        case: The model, its examples and the kind of kernel.
        way: `one` or `blocks`.

    Returns:
        Samples, pages that a call waits for, and the compiler's figures of memory.

    Raises:
        ValueError: The plan asks for no blocks.
    """
    inputs = case.problem.build()
    kernel = ntkplan.plan(inputs.f, *inputs.arguments, kernel=case.kernel).compile()
    options = options_of(kernel.plan.cost)
    if not kept_blocks().items() <= options.items():
        raise ValueError(f"{case.name} has all temporaries in one block")
    if way == "one":
        options = {k: v for k, v in options.items() if k not in kept_blocks()}
    program = jax.jit(kernel.function).lower(*inputs.arguments).compile(options)
    for _ in range(_WARM_CALLS):
        jax.block_until_ready(program(*inputs.arguments))
    faults, samples_s = _page_faults(), []
    while len(samples_s) < _MOST_CALLS and sum(samples_s) < _TIMED_S:
        started_s = time.perf_counter()
        jax.block_until_ready(program(*inputs.arguments))
        samples_s.append(time.perf_counter() - started_s)
    return {
        "options": options,
        "memory": memory_figures(program),
        "samples_s": samples_s,
        "page_faults_of_a_call": (_page_faults() - faults) / len(samples_s),
    }


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def compared(name: str) -> dict[str, Any]:
    """Measures a kernel both ways, in processes that take turns.

    Args:
        name: The kernel.
    """
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in WAYS[:: -1 if number % 2 else 1]:
            command = [sys.executable, "-m", "benchmarks.memory_blocks"]
            command += ["--only", name, "--way", way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout))
    return {"name": name, "ways": {way: _joined(each) for way, each in found.items()}}


def _joined(processes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns what several processes found of a kernel, of all samples together."""
    faults = [each["page_faults_of_a_call"] for each in processes]
    samples_s = [sample_s for each in processes for sample_s in each["samples_s"]]
    return {
        **processes[0],
        **summary(samples_s),
        "page_faults_of_a_call": faults,
    }


def report(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Returns a line for every kernel, and the mean of their times."""
    lines, ratios = [], []
    for row in rows:
        one, blocks = (row["ways"][way] for way in WAYS)
        ratios.append(blocks["median_s"] / one["median_s"])
        held = [way["memory"]["temp_bytes"] / 1e6 for way in (one, blocks)]
        faults = [
            sum(way["page_faults_of_a_call"]) / len(way["page_faults_of_a_call"])
            for way in (one, blocks)
        ]
        lines.append(
            f"{row['name']:38s} runs {ratios[-1]:.2f}, page faults of a call "
            f"{faults[0]:.0f} -> {faults[1]:.0f}, temporaries {held[0]:.1f} -> "
            f"{held[1]:.1f} MB"
        )
    return [*lines, f"runs {geometric_mean(ratios):.2f} (geometric mean)"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line; measures, writes the results and prints them.

    Args:
        arguments: The command line, or None for that of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    add_selection(parser, _CASES)
    parser.add_argument(
        "--way", choices=WAYS, help="only that, in this process, printed as JSON"
    )
    given = parser.parse_args(arguments)
    out, names = selected(given, out=RESULTS / "memory_blocks_cpu.json", all_of=RUN)
    if given.way:
        print(json.dumps(measured(_CASES[names[0]], given.way)))
        return
    rows = [compared(name) for name in names]
    write({"environment": environment(), "rounds": ROUNDS, "kernels": rows}, out)
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
