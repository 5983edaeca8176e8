"""Asks a compiler, in a process of its own, for its estimates of many programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.targets.compilers import answers
from benchmarks.targets.devices import Target
from benchmarks.targets.programs import Contraction


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
    worker = "benchmarks.targets.worker"
    said = answers(target.compiler, worker, target.name, programs, target.flags)
    for digest, line in zip(pending, said, strict=True):
        found[digest] = line
        progress(len(found), len(wanted))
    return found
