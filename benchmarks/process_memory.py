"""Resident memory of this process, as Linux counts it. Imports nothing but Python."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR_PEAK = Path("/proc/self/clear_refs")
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


def with_growth(run: Callable[[], Any]) -> tuple[Any, int]:
    """Runs something once.

    Args:
        run: What is run; it returns when it is done.

    Returns:
        What it returned, and by how many bytes resident memory grew at most meanwhile.

    Raises:
        RuntimeError: The system does not let a process forget its peak.
    """
    give_back()
    with contextlib.suppress(OSError):
        _CLEAR_PEAK.write_text("5")
    before_bytes = resident_bytes("VmRSS")
    if resident_bytes("VmHWM") > before_bytes + _STALE_BYTES:
        raise RuntimeError("the peak of resident memory cannot be reset here")
    result = run()
    return result, resident_bytes("VmHWM") - before_bytes
