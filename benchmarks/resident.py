"""Runs one kernel in a fresh process and says how much memory that took.

Run `python -m benchmarks.resident NAME`; `benchmarks.accuracy` does, for every program.

Measured is what the process has resident at most while the kernel runs, less what it
has just before, when parameters and examples are there and the program is compiled.
Arguments are thus left out, the result and all temporaries are counted: as in a plan's
`cost.peak_bytes`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
from pathlib import Path
from typing import Any

import jax

from benchmarks.candidates import prepare
from benchmarks.problems.memory_table import MEMORY, MemoryCase
from ntkplan.demo.resident import forget_peak

_STATUS = Path("/proc/self/status")
_PATIENCE_S = 300
_STALE_BYTES = 16 * 2**20


def resident_bytes(field: str) -> int:
    """Returns what the system says of this process.

    The peak that `resource.getrusage` gives is no use here: a process inherits that of
    the one that started it.

    Args:
        field: `VmRSS` for what is resident now, `VmHWM` for the most since the start
            or since the peak was forgotten.
    """
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"{_STATUS} has no {field}")


def give_back() -> None:
    """Gives free memory back to the system, so that its reuse is counted too."""
    gc.collect()
    # Only glibc keeps it, and only glibc has this.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
    forget_peak()
    before_bytes = resident_bytes("VmRSS")
    if resident_bytes("VmHWM") > before_bytes + _STALE_BYTES:
        raise RuntimeError("the peak of resident memory cannot be reset here")
    jax.block_until_ready(prepared.compiled(*inputs.arguments))
    return {
        "name": case.problem.name,
        "family": case.problem.family,
        "candidate": case.candidate,
        "predicted_bytes": prepared.facts["estimated_peak_bytes"],
        "measured_bytes": resident_bytes("VmHWM") - before_bytes,
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
