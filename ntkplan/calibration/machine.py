"""What a measurement was made on: the device, its memory, versions, flags."""

from __future__ import annotations

import datetime
import os
import re
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from ntkplan.cost.choice import PLATFORM_NAMES, Choice
from ntkplan.cost.host import Host
from ntkplan.cost.profile import DeviceProfile, Memory, Platform
from ntkplan.errors import CalibrationError

_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu", "jax-rocm7-plugin")
_FLAGS = ("XLA_FLAGS", "JAX_PLATFORMS", "OMP_NUM_THREADS", "LIBTPU_INIT_ARGS")

_CPU_USABLE_PART = 0.8
_SCRATCH_MARGIN = 0.1
_FRESH_BUFFER_BYTES = 32 * 2**20
"""The most that glibc keeps for reuse (M_MMAP_THRESHOLD's upper bound)."""

_PACKED_COLUMNS = 128
"""What XLA's library of products copies of a right operand at a time: what resident
memory is more than the compiler's figure, for single products and batches of them."""

_CACHE_BYTES = 32 * 2**20
"""Taken where the system does not tell how large the last cache is."""


def find_device(device: Any) -> Any:
    """Returns a JAX device.

    Args:
        device: The device; a platform, as `gpu`, for its first one; or None for the one
            that JAX runs on.

    Raises:
        CalibrationError: JAX runs on no such device.
    """
    if device is None or isinstance(device, str):
        try:
            device = jax.devices(device)[0]
        except RuntimeError as error:
            raise CalibrationError(
                device=str(device),
                why=f"JAX does not run on it here ({error})",
                hint="Only a device that is there can be measured: give cpu, gpu or "
                "tpu, as `jax.devices()` shows it, or leave it out",
            ) from error
    if device.platform not in PLATFORM_NAMES:
        raise CalibrationError(
            device=f"{device.platform}: {device.device_kind}",
            why="its platform is unknown",
            hint=f"Known are {', '.join(PLATFORM_NAMES)}",
        )
    return device


def platform_of(device: Any) -> Platform:
    """Returns the platform of a JAX device; those of CUDA and ROCm are both `gpu`."""
    return PLATFORM_NAMES[device.platform]


def profile_name(device: Any, host: Host, known: Choice | None) -> str:
    """Returns what to call a device's profile.

    It is the name of the profile of the same device, if there is one, so that the new
    one takes its place.
    """
    if known is not None and known.same:
        return known.profile.name
    kind = device.device_kind
    if platform_of(device) is Platform.CPU:
        kind = f"{host.architecture} {host}"
    return "_".join(re.findall(r"[a-z0-9]+", kind.lower()))


def core_count(device: Any, host: Host, known: Choice | None) -> int:
    """Returns the cores of a CPU, or of an accelerator where it tells them."""
    if platform_of(device) is Platform.CPU:
        return host.cores
    for name in ("core_count", "num_cores"):
        count = getattr(device, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return known.profile.cores if known is not None and known.same else 1


def memory_of(device: Any, nearest: DeviceProfile | None) -> Memory:
    """Returns the memory of a device.

    Args:
        device: A JAX device.
        nearest: The profile of the same device, or of one that is like it: what a
            device without memory statistics is taken to have.

    Raises:
        CalibrationError: Nothing tells how much there is.
    """
    if platform_of(device) is Platform.CPU:
        total = _main_memory_bytes()
        if total:
            return Memory(
                capacity_bytes=total,
                usable_bytes=int(_CPU_USABLE_PART * total),
                scratch_margin_fraction=_SCRATCH_MARGIN,
                fresh_buffer_bytes=_FRESH_BUFFER_BYTES,
                packed_columns=_PACKED_COLUMNS,
                cache_bytes=_last_cache_bytes(),
            )
    statistics = device.memory_stats() or {}
    limit = int(statistics.get("bytes_limit", 0))
    if not limit:
        if nearest is None:
            raise CalibrationError(
                device=device.device_kind,
                why="it does not tell how much memory it has",
                hint="Write a profile from its datasheet, see docs/adding_a_device.md",
            )
        return nearest.memory
    # What the allocator was given is what programs can have; how much more there is,
    # nobody says but a datasheet.
    capacity = max(limit, nearest.memory.capacity_bytes if nearest else 0)
    return Memory(
        capacity_bytes=capacity,
        usable_bytes=limit,
        scratch_margin_fraction=_SCRATCH_MARGIN,
    )


def _main_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _last_cache_bytes() -> int:
    """Returns the size of the largest cache of the first core."""
    largest = 0
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="utf-8").strip()
        found = re.fullmatch(r"(\d+)([KMG]?)", text)
        if found:
            power = " KMG".index(found[2] or " ")
            largest = max(largest, int(found[1]) * 1024**power)
    return largest or _CACHE_BYTES


def today() -> str:
    """Returns today's date, ISO format, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def version(name: str) -> str:
    """Returns the version of an installed package, empty where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def plugin_versions() -> tuple[str, ...]:
    """Returns the installed plugins, as `name==version`."""
    return tuple(f"{name}=={found}" for name in _PLUGINS if (found := version(name)))


def flags() -> str:
    """Returns the environment variables that change what XLA does."""
    return " ".join(
        f"{name}={os.environ[name]}" for name in _FLAGS if name in os.environ
    )


def process_age_s() -> float:
    """Returns for how many seconds this process has run, imports included."""
    try:
        after_name = Path("/proc/self/stat").read_text(encoding="utf-8").split(")")[-1]
        since_boot = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
        return since_boot - int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.process_time()
