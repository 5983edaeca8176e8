"""From source text to a module: the kernel that runs is the text that is printed."""

from __future__ import annotations

import hashlib
import linecache
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy

from ntkplan.emit.constants import storable
from ntkplan.errors import InternalError


def load(
    text: str,
    *,
    constants: Mapping[str, Any],
    references: Mapping[str, Callable[..., Any]],
) -> dict[str, Any]:
    """Runs the text of an emitted module.

    Tracebacks and `inspect.getsource` show its lines, through `linecache`.

    Args:
        text: The module's source.
        constants: Arrays that the text reads from the `.npz` beside its file.
        references: Functions that the text calls but cannot define.

    Returns:
        The module's names.

    Raises:
        InternalError: The text is no Python.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = tempfile.mkdtemp(prefix="ntkplan_") if constants else "ntkplan"
    path = Path(folder) / f"ntk_{digest}.py"
    save_constants(constants, path)
    # linecache keeps entries without a modification time, even if there is no file.
    lines = text.splitlines(keepends=True)
    linecache.cache[str(path)] = (len(text), None, lines, str(path))
    namespace: dict[str, Any] = {
        "__name__": f"ntk_{digest}",
        "__file__": str(path),
        **references,
    }
    try:
        code = compile(text, str(path), "exec")
    except SyntaxError as error:
        raise InternalError(f"emitted source is no Python: {error}", text) from error
    exec(code, namespace)
    if constants:
        shutil.rmtree(folder)
    return namespace


def save_constants(constants: Mapping[str, Any], path: Path) -> None:
    """Writes a module's constants beside it, as `.npz`, if it has any.

    Args:
        constants: Arrays, by the names that the module knows them by.
        path: The module's file.
    """
    if constants:
        arrays = {name: storable(array) for name, array in constants.items()}
        numpy.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)
