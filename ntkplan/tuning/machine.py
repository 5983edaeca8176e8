"""The device that is present: what tells it from others, and what it has free."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import jax

from ntkplan.compiling import compiler_options
from ntkplan.cost.choice import PLATFORM_NAMES
from ntkplan.cost.host import this_host
from ntkplan.cost.profile import DeviceProfile
from ntkplan.errors import ConflictingOptionsError

# Settings of JAX on which it depends how a program is compiled.
_SWITCHES = ("jax_disable_most_optimizations", "jax_default_matmul_precision")


def require_present(profile: DeviceProfile) -> None:
    """Refuses to measure for a device that is not the one JAX runs on.

    Raises:
        ConflictingOptionsError: It is another one.
    """
    running = jax.devices()[0]
    family = PLATFORM_NAMES.get(running.platform)
    if (profile.platform, profile.device_kind) == (family, running.device_kind):
        return
    raise ConflictingOptionsError(
        what=f"tune= measures on the device that is present, {running.platform} "
        f"({running.device_kind}), and device= asks for a plan for {profile.name} "
        f"({profile.device_kind})",
        hint="Leave tune= out, or plan on that device",
    )


def surroundings() -> dict[str, str]:
    """Returns what, beside a program itself, determines how fast it runs."""
    host = this_host()
    return {
        "ntkplan": importlib.metadata.version("ntkplan"),
        "jax": jax.__version__,
        "machine": f"{host.architecture} {host.processor}",
        "cores": str(host.cores),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compiler_options": str(compiler_options()),
        **{name: str(jax.config.values.get(name)) for name in _SWITCHES},
    }


def free_bytes(profile: DeviceProfile) -> float:
    """Returns how much memory the device has free, as far as it can be known."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    available = _available_bytes()
    return float(available or profile.memory.usable_bytes)


def _available_bytes() -> int:
    """Returns what Linux says that programs can have of main memory; 0 elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(value.split()[0])
    return 0
