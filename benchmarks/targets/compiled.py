"""Asks a compiler, in a process of its own, for its estimates of many programs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.targets.devices import Target
from benchmarks.targets.programs import Contraction

_ROOT = Path(__file__).resolve().parents[2]


class CompilerError(RuntimeError):
    """The process that compiles ended before it was done."""


def missing(target: Target) -> str | None:
    """Says what has to be installed to compile for a target, or None."""
    if importlib.util.find_spec(target.needs) is not None:
        return None
    return f"{target.needs} is not installed: pip install {' '.join(target.packages)}"


def estimates(
    target: Target,
    wanted: Sequence[Contraction],
    known: Mapping[str, dict[str, Any]],
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """Compiles programs and returns what the compiler expects of them.

    Args:
        target: The device.
        wanted: The programs.
        known: Estimates that are there already, by the programs' digests.
        progress: Called with how many programs are done, and how many there are.

    Returns:
        For every digest `estimated_s`, `kernels` and `compile_s`, or `error`.

    Raises:
        CompilerError: The process ended early; the message holds its last words.
    """
    pending = {item.digest: item for item in wanted if item.digest not in known}
    found = {item.digest: known[item.digest] for item in wanted if item.digest in known}
    if not pending:
        return found
    programs = [
        {"source": item.source, "arguments": item.arguments}
        for item in pending.values()
    ]
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        json.dump(programs, given)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.targets.worker", target.name],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=_environment(target),
        )
        with process:
            lines = process.stdout or ()
            for digest, line in zip(pending, lines, strict=False):
                found[digest] = json.loads(line)
                progress(len(found), len(wanted))
        if not all(digest in found for digest in pending):
            said.seek(0)
            last = "".join(said.readlines()[-5:])
            raise CompilerError(f"compiling for {target.name} ended early:\n{last}")
    return found


def _environment(target: Target) -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **target.environment,
    }
