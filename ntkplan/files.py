"""Files that users name: what they are given as, and whether they can be written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ntkplan.errors import ArgumentTypeError, UnwritableFileError


def given_path(path: object) -> Path:
    """Returns a path that was given as text or as a path.

    Raises:
        ArgumentTypeError: It is neither.

    Example:
        >>> given_path("my_ntk.py").suffix
        '.py'
    """
    if isinstance(path, str | os.PathLike):
        return Path(path)
    raise ArgumentTypeError(name="path", value=path, wanted="the path of a file")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says why a file cannot be written.

    Args:
        path: The file.

    Raises:
        UnwritableFileError: In place of what the operating system raises.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UnwritableFileError:
    """Returns the error of a file that the operating system does not write."""
    folder = path.parent
    if not folder.is_dir():
        every = (*reversed(folder.parents), folder)
        missing = next(place for place in every if not place.is_dir())
        is_file = missing.exists()
        return UnwritableFileError(
            path=str(path),
            reason=f"{missing} is {'no' if is_file else 'a missing'} folder",
            remedy="Write to another folder."
            if is_file
            else f"Make the folder {folder} first, or write to another one.",
        )
    return UnwritableFileError(
        path=str(path),
        reason=error.strerror or str(error),
        remedy="Write to another folder, or make this one writable.",
    )
