"""Where the formatter is, which printed source must please."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def ruff() -> str:
    """Returns the command that stands beside the interpreter, or is on the path."""
    return shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"


def formatted(source: str) -> str:
    """Returns Python source as the formatter leaves it."""
    done = subprocess.run(
        [ruff(), "format", "--isolated", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
