"""The peer's virtual environment, outside of the repository, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs

_REQUIREMENTS = (
    "jax==0.4.38",
    "jaxlib==0.4.38",
    "numpy==1.26.4",
    "scipy==1.13.1",
    "frozendict==2.5.1",
)
"""The newest JAX on which all of neural-tangents works."""
_PEER = "neural-tangents==0.6.5"


def peer_python(folder: Path | None = None) -> Path:
    """Returns the interpreter of the peer's virtual environment.

    Args:
        folder: Where the environment is or is to be; None for the user's cache folder.

    Raises:
        subprocess.CalledProcessError: It could not be installed.
    """
    folder = folder or Path(platformdirs.user_cache_dir("ntkplan")) / "neural_tangents"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not _works(python):
        print(f"installing {_PEER} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *_REQUIREMENTS], check=True)
        # What it depends on besides serves other functions only, and is large.
        subprocess.run([*install, "--no-deps", _PEER], check=True)
    return python


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    found = "from importlib.metadata import version; version('neural-tangents')"
    return subprocess.run([str(python), "-c", found], check=False).returncode == 0
