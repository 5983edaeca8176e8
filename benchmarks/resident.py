"""Runs one kernel in a fresh process and says how much memory that took.

Run `python -m benchmarks.resident NAME`; `benchmarks.accuracy` does, for every program.

Measured is what the process has resident at most while the kernel runs, less what it
has just before, when parameters and examples are there and the program is compiled.
Arguments are thus left out, the result and all temporaries are counted: as in a plan's
`cost.peak_bytes`.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import jax

from benchmarks.candidates import prepare
from benchmarks.problems.memory_table import MEMORY, MemoryCase
from benchmarks.process_memory import give_back, resident_bytes, with_growth

_PATIENCE_S = 300


def measure(case: MemoryCase) -> dict[str, Any]:
    """Compiles and runs a program once.

    Args:
        case: The program.

    Returns:
        Bytes predicted, measured and as the compiler has them, as JSON can hold it.

    Raises:
        RuntimeError: The system does not let a process forget its peak.
    """
    inputs = case.problem.build()
    jax.block_until_ready(inputs.arguments)
    with_inputs_bytes = resident_bytes("VmRSS")
    prepared = prepare(case.candidate, inputs, {}, patience_s=_PATIENCE_S)
    give_back()
    before_bytes = resident_bytes("VmRSS")
    _, grown_bytes = with_growth(
        lambda: jax.block_until_ready(prepared.compiled(*inputs.arguments))
    )
    return {
        "name": case.problem.name,
        "family": case.problem.family,
        "candidate": case.candidate,
        "predicted_bytes": prepared.facts["estimated_peak_bytes"],
        "measured_bytes": grown_bytes,
        "with_inputs_bytes": with_inputs_bytes,
        "before_bytes": before_bytes,
        "argument_bytes": sum(
            array.nbytes for array in jax.tree.leaves(inputs.arguments)
        ),
        "compiler": prepared.facts["memory"],
        "leaves": prepared.facts["leaves"],
    }


def main() -> None:
    """Reads the command line; prints what was measured as JSON."""
    cases = {case.name: case for case in MEMORY}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(cases))
    print(json.dumps(measure(cases[parser.parse_args().name])))


if __name__ == "__main__":
    main()
