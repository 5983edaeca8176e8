"""What a measurement was made on: written into every file of results."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from ntkplan.cost.host import this_host

_PACKAGES = ("jax", "jaxlib", "numpy", "networkx", "sympy", "ntkplan")
_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu", "jax-rocm7-plugin")
_FLAGS = ("XLA_FLAGS", "JAX_ENABLE_X64", "JAX_PLATFORMS", "OMP_NUM_THREADS")


def environment() -> dict[str, Any]:
    """Returns what results depend on, as JSON can hold it.

    Returns:
        Date, git commit and whether files differ from it, versions, device, processor,
        cores, memory in bytes, and flags.
    """
    device, host = jax.devices()[0], this_host()
    return {
        "date": today(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "versions": _versions(_PACKAGES),
        "plugins": _versions(_PLUGINS),
        "platform": device.platform,
        "device_kind": device.device_kind,
        "machine": platform.machine(),
        "processor": host.processor,
        "cores": host.cores,
        "memory_bytes": memory_bytes(),
        "flags": flags(),
    }


def today() -> str:
    """Returns today's date, ISO format, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def memory_bytes() -> int:
    """Returns the bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def flags() -> dict[str, str]:
    """Returns the environment variables that change what XLA does."""
    return {name: os.environ[name] for name in _FLAGS if name in os.environ}


def plugin_versions() -> tuple[str, ...]:
    """Returns the installed plugins, as `name==version`."""
    found = _versions(_PLUGINS)
    return tuple(f"{name}=={version}" for name, version in found.items())


def matmul_precision() -> str | None:
    """Returns the precision of what is measured; None for JAX's default.

    Plans are exact by default where matrix units are not, so that everything else that
    is compared with them must be too.
    """
    return None if jax.devices()[0].platform == "cpu" else "highest"


def same_precision() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which programs are traced with that precision."""
    precision = matmul_precision()
    if precision is None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(precision)


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    """Asks git about the checkout; empty where there is none."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
