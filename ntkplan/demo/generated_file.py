"""The file that the demo writes: may it be written, and what does it hold."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import tempfile

import jax

from ntkplan.errors import UnwritableFileError
from ntkplan.files import unwritable

FIRST_LINE = re.compile(r'"""The .*neural tangent kernel of ')
"""What the first line of every generated file matches."""


def check_writable(path: pathlib.Path) -> None:
    """Makes sure that a generated file may be written to `path`.

    Args:
        path: The file; one that is there is overwritten only if ntkplan wrote it.

    Raises:
        UnwritableFileError: With the reason.
    """
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        foreign = path.exists() and not FIRST_LINE.match(read_first_line(path))
    except OSError as error:
        raise unwritable(path, error) from error
    if foreign:
        raise UnwritableFileError(
            path=str(path),
            reason="a file of that name is there, and ntkplan did not write it",
            remedy="Move it away, or run this in another folder.",
        )


def read_first_line(path: pathlib.Path) -> str:
    """Reads the first line of a file that is opened for writing too, unchanged."""
    with path.open("r+", encoding="utf-8", errors="replace") as file:
        return file.readline()


def import_kernel(path: pathlib.Path) -> jax.stages.Wrapped:
    """Imports a generated file from where it lies, and returns its kernel."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel
