"""Peak resident memory of this process, as the operating system counts it."""

from __future__ import annotations

import contextlib
import pathlib
import sys

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None

CLEAR_PEAK = pathlib.Path("/proc/self/clear_refs")


def peak_resident_bytes() -> int | None:
    """Returns the most memory that was resident at once, or None where unknown."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Starts the peak anew from what is resident now, where Linux allows it.

    Elsewhere the peak since the start of the process stays.
    """
    with contextlib.suppress(OSError):
        CLEAR_PEAK.write_text("5")
