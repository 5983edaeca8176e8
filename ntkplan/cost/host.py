"""The processor that this process runs on."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
from pathlib import Path

_VECTORS = (("avx512f", "AVX-512"), ("avx2", "AVX2"))
_SAME = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """What tells one CPU from another: JAX calls every one of them `cpu`.

    Attributes:
        architecture: `x86_64`, `arm64`, ...
        processor: Its name, as the system gives it, and the widest of its vector
            instructions: processors of one name differ in them, and twice in speed.
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
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    of_first_core, _, _ = text.partition("\n\n")
    pairs = (line.partition(":") for line in of_first_core.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    name = facts.get("model name") or platform.processor() or platform.machine()
    return described(name, facts.get("flags", ""))


def described(name: str, flags: str) -> str:
    """Returns a processor's name with the widest of its vector instructions.

    Args:
        name: As the system gives it.
        flags: What it can do, as Linux lists it; empty where that is not known.

    Example:
        >>> described("Some CPU", "fpu avx avx2 fma")
        'Some CPU, AVX2'
    """
    widest = next((text for flag, text in _VECTORS if flag in flags.split()), None)
    return name if widest is None else f"{name}, {widest}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
