"""Compiles emitted kernels for a device that is not there, and says what came of it.

    python -m tests.targets.worker DEVICE < programs.json

Reads a list of programs (`source`, `arguments`) and prints one line of JSON for each:
bytes by kind, and what must not be in a kernel and is; or why it does not compile.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks.targets.compilers import COMPILERS, placed_on

_WIDE = re.compile(r"\b[fsu]64\[|\bc128\[|\btensor<(?:[\dx?]*x)?(?:[fi]64|ui64)>")
_HOST = re.compile(r"\S*callback\S*|\b(?:in|out)feed\b|is_host_transfer=true")


def main() -> None:
    sharding = placed_on(COMPILERS[sys.argv[1]])
    for program in json.load(sys.stdin):
        print(json.dumps(_compiled(program, sharding)), flush=True)


def _compiled(program: dict[str, Any], sharding: Any) -> dict[str, Any]:
    def is_array(item: Any) -> bool:
        return isinstance(item, dict) and set(item) == {"shape", "dtype"}

    def spec(item: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            tuple(item["shape"]), item["dtype"], sharding=sharding
        )

    arguments = jax.tree.map(spec, program["arguments"], is_leaf=is_array)
    scope: dict[str, Any] = {"__name__": "kernel"}
    exec(compile(program["source"], "<kernel>", "exec"), scope)
    started_s = time.perf_counter()
    try:
        lowered = scope["kernel"].lower(*arguments)
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return {"error": str(error).strip().splitlines()[0][:500]}
    memory = compiled.memory_analysis()
    texts = (lowered.as_text(), compiled.as_text() or "")
    return {
        "compile_s": round(time.perf_counter() - started_s, 1),
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "peak_bytes": memory.peak_memory_in_bytes,
        "wide": found_wide(texts),
        "host": found_host(texts),
    }


def found_wide(texts: Sequence[str]) -> list[str]:
    """Returns lines of programs with types of 64 bits, a few of them."""
    return _found(_WIDE, texts)


def found_host(texts: Sequence[str]) -> list[str]:
    """Returns lines of programs that hand something to the host, a few of them."""
    return _found(_HOST, texts)


def _found(pattern: re.Pattern[str], texts: Sequence[str]) -> list[str]:
    lines = [line for text in texts for line in text.splitlines()]
    return [line.strip()[:200] for line in lines if pattern.search(line)][:5]


if __name__ == "__main__":
    main()
