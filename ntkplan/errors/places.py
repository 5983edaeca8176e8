"""Where in the user's own code an exception was raised."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_MOST_LINES = 4


def place_of(error: BaseException) -> str:
    """Returns ` at model.py:41`, the last line outside of libraries that led to it.

    Empty where no line of the user's is known.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_theirs(frame.filename):
            return f" at {Path(frame.filename).name}:{frame.lineno}"
    return ""


def _is_theirs(file: str) -> bool:
    """Says whether a file is no part of ntkplan, JAX, NumPy or Python."""
    path = Path(file)
    if file.startswith("<") or path.is_relative_to(Path(__file__).parents[1]):
        return False
    for name in ("jax", "jaxlib", "numpy"):
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin and path.is_relative_to(Path(origin).parent):
            return False
    # Without a virtual environment, packages lie inside the standard library's folder.
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(installed) or not path.is_relative_to(sysconfig.get_paths()["stdlib"])


def short_text(error: BaseException) -> str:
    """Returns the type of an exception and the first lines of what it says."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    kept = lines[:_MOST_LINES]
    said = "\n  ".join(kept)
    return f"{type(error).__name__}: {said}" if kept else type(error).__name__
