"""The processor that this process runs on."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
from pathlib import Path

_SAME = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """What tells one CPU from another: JAX calls every one of them `cpu`.

    Attributes:
        architecture: `x86_64`, `arm64`, ...
        processor: Its name, as the system gives it.
        cores: How many of its cores this process may use.
    """

    architecture: str
    processor: str
    cores: int

    def __str__(self) -> str:
        """Returns the name with the number of cores."""
        return f"{self.processor}, {self.cores} cores"


def this_host() -> Host:
    """Returns the CPU of this process."""
    machine = platform.machine().lower()
    return Host(
        architecture=_SAME.get(machine, machine),
        processor=_processor(),
        cores=_cores(),
    )


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
