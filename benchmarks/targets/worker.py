"""Compiles programs for one device, in a process whose environment is set for it.

    python -m benchmarks.targets.worker TARGET < programs.json

Reads a list of programs (`source`, `arguments`) and prints one line of JSON for each:
the compiler's estimate in seconds, or why there is none.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from benchmarks.targets.compilers import placed_on
from benchmarks.targets.devices import TARGETS, Target
from benchmarks.targets.hlo import MissingEstimateError, read_estimate


def main() -> None:
    target = TARGETS[sys.argv[1]]
    programs = json.load(sys.stdin)
    sharding = placed_on(target.compiler)
    for program in programs:
        print(json.dumps(_estimated(program, target, sharding)), flush=True)


def _estimated(
    program: dict[str, Any], target: Target, sharding: SingleDeviceSharding
) -> dict[str, Any]:
    started_s = time.perf_counter()
    try:
        text = _compiled(program, sharding)
        estimate = read_estimate(text, target)
    except (jax.errors.JaxRuntimeError, MissingEstimateError) as error:
        return {"error": str(error).strip().splitlines()[0][:300]}
    return {
        "estimated_s": estimate.seconds,
        "kernels": estimate.kernels,
        "compile_s": round(time.perf_counter() - started_s, 2),
    }


def _compiled(program: dict[str, Any], sharding: SingleDeviceSharding) -> str:
    """Compiles one program and returns its text."""
    scope: dict[str, Any] = {}
    # The text was printed by ntkplan's own emitter a moment ago.
    exec(compile(program["source"], "<contraction>", "exec"), scope)
    arguments = {
        name: {
            key: jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=sharding)
            for key, (shape, dtype) in arrays.items()
        }
        for name, arrays in program["arguments"].items()
    }
    compiled = jax.jit(scope["contraction"]).lower(**arguments).compile()
    return compiled.as_text() or ""


if __name__ == "__main__":
    main()
