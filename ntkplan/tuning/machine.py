"""The device that is present: what tells it from others, and what it has free."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import jax

from ntkplan.cost.profile import DeviceProfile
from ntkplan.errors import ConflictingOptionsError

# Settings of JAX on which it depends how a program is compiled.
_SWITCHES = ("jax_disable_most_optimizations", "jax_default_matmul_precision")

_PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}


def require_present(profile: DeviceProfile) -> None:
    """Refuses to measure for a device that is not the one JAX runs on.

    Raises:
        ConflictingOptionsError: It is another one.
    """
    running = jax.devices()[0]
    family = _PLATFORMS.get(running.platform, running.platform)
    if (profile.platform.value, profile.device_kind) == (family, running.device_kind):
        return
    raise ConflictingOptionsError(
        what=f"tune= measures on the device that is present, {running.platform} "
        f"({running.device_kind}), and device= asks for a plan for {profile.name} "
        f"({profile.device_kind})",
        hint="Leave tune= out, or plan on that device",
    )


def surroundings() -> dict[str, str]:
    """Returns what, beside a program itself, determines how fast it runs."""
    return {
        "ntkplan": importlib.metadata.version("ntkplan"),
        "jax": jax.__version__,
        "machine": f"{platform.machine()} {_processor()}".strip(),
        "cores": str(_cores()),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        **{name: str(jax.config.values.get(name)) for name in _SWITCHES},
    }


def free_bytes(profile: DeviceProfile) -> float:
    """Returns how much memory the device has free, as far as it can be known."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    available = _line("/proc/meminfo", "MemAvailable")
    if available:
        return 1024.0 * int(available.split()[0])
    return float(profile.memory.usable_bytes)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    return _line("/proc/cpuinfo", "model name") or platform.processor()


def _line(path: str, name: str) -> str:
    """Returns what stands behind a name in one of the files of Linux, or nothing."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
