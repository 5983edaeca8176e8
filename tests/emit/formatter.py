"""Where the formatter is, which printed source must please."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def ruff() -> str:
    """Returns the command that stands beside the interpreter, or is on the path."""
    return shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
