"""Runs a program in a process of its own, as on a machine without ntkplan."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence


def said_by(program: str, arguments: Sequence[str], folder: pathlib.Path) -> str:
    """Returns what a program prints, which must end well.

    Args:
        program: Its text.
        arguments: What it finds after its name in `sys.argv`.
        folder: Where it runs.
    """
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment.pop("PYTHONPATH", None)
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
