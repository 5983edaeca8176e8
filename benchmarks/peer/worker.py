"""One side's process: reads commands, one JSON a line, and answers each with a line.

    python -m benchmarks.peer.worker ntkplan|incumbent

It lives through many cases and computes nothing unless it is asked to, so that several
of them can take turns.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Timed, memory_figures
from benchmarks.peer.configurations import CASES
from benchmarks.peer.prepared import Prepared
from benchmarks.process_memory import with_growth

_SIDES = {"ntkplan": "benchmarks.peer.ours", "incumbent": "benchmarks.peer.incumbent"}
_CASES = {case.name: case for case in CASES}


class Worker:
    """Holds the kernel that is being timed.

    Args:
        side: One of `_SIDES`.
    """

    def __init__(self, side: str) -> None:
        self._side = importlib.import_module(_SIDES[side])
        self._side.warm_up()
        self._program: Timed | None = None

    def answer(self, command: dict[str, Any]) -> Any:
        """Does what a command says.

        Args:
            command: The name of a method, as `do`, and its arguments.
        """
        return getattr(self, command.pop("do"))(**command)

    def versions(self) -> Any:
        """Returns what this side runs on."""
        return self._side.versions()

    def peaks(self) -> Any:
        """Returns what the machine can do; ntkplan's side only."""
        return importlib.import_module("benchmarks.peer.machine").peaks()

    def least_work(self, case: str) -> Any:
        """Returns the least work of any order; ntkplan's side only."""
        return self._side.least_work(_CASES[case])

    def prepare(
        self,
        case: str,
        implementation: str,
        budget_s: float,
        temp_bytes: float,
        kernel_file: str,
    ) -> dict[str, Any]:
        """Compiles a kernel and calls it once.

        Args:
            case: The case's name.
            implementation: As the side's `prepare` takes it.
            budget_s: Seconds of timed calls in all.
            temp_bytes: Temporaries with which it is not called.
            kernel_file: Where the kernel is written to.

        Returns:
            Its facts; with `error`, why it was not called.
        """
        self._forget()
        ready = self._side.prepare(_CASES[case], implementation)
        facts = ready.facts | {"memory": memory_figures(ready.compiled)}
        needed = facts["memory"].get("temp_bytes", 0)
        if needed > temp_bytes:
            over = f"needs {needed / 2**30:.1f} GiB of temporaries"
            return facts | {"error": over}
        return facts | self._called(ready, budget_s, kernel_file)

    def _called(
        self, ready: Prepared, budget_s: float, kernel_file: str
    ) -> dict[str, Any]:
        self._program = program = Timed(
            function=ready.compiled, arguments=ready.arguments, budget_s=budget_s
        )
        (kernel, first_s), grown_bytes = with_growth(program.warm_up)
        np.save(kernel_file, np.asarray(kernel))
        stages = ("plan_s", "load_s", "lower_s", "compile_s")
        ready_s = first_s + sum(ready.facts.get(stage, 0.0) for stage in stages)
        return {
            "first_call_s": first_s,
            "ready_s": ready_s,
            "resident_peak_bytes": grown_bytes,
        }

    def round(self) -> list[float]:
        """Calls the kernel a few times; returns the seconds of each call."""
        assert self._program is not None
        began = len(self._program.samples_s)
        self._program.round()
        return self._program.samples_s[began:]

    def _forget(self) -> None:
        self._program = None
        jax.clear_caches()
        gc.collect()


def main() -> None:
    """Warms up, then answers until the input ends."""
    worker = Worker(sys.argv[1])
    answers = sys.stdout
    # What libraries print must not stand among the answers.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        started_s = time.perf_counter()
        try:
            answer: dict[str, Any] = {"answer": worker.answer(json.loads(line))}
        except Exception as error:
            # That a side fails is a result, which the table names.
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answer["took_s"] = time.perf_counter() - started_s
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
