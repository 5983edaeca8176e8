"""The file of an exported kernel: a zip of a JSON header and two programs."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.export

from ntkplan.errors import ExportFileError, MissingExtraError

SCHEMA = 1
"""Raised by whatever changes the meaning of the header or of the programs."""

_FORMAT = "ntkplan export"
_HEADER = "header.json"
_SUFFIX = ".jax_export"
_PROGRAMS = ("alone", "pair")

# What a header with another name, type or text in it leads to, and a zip whose entries
# name a compression that there is not.
_DAMAGED = (KeyError, ValueError, TypeError, EOFError, NotImplementedError)


def require_flatbuffers(what: str) -> None:
    """Checks that the package is there by which JAX writes and reads programs.

    Args:
        what: What needs it.

    Raises:
        MissingExtraError: It is not.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise MissingExtraError(what=what, package="flatbuffers", extra="export")


def file_bytes(fields: Mapping[str, Any], programs: Mapping[str, bytes]) -> bytes:
    """Returns the bytes of a file.

    Args:
        fields: What the header says.
        programs: Serialized programs by name.
    """
    header = {"format": _FORMAT, "schema": SCHEMA, **fields}
    contents = {_HEADER: json.dumps(header, indent=1).encode()}
    contents |= {f"{name}{_SUFFIX}": program for name, program in programs.items()}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in contents.items():
            # Without a date: what is read and written again is the same file.
            entry = zipfile.ZipInfo(name)
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns the header of a file and its programs, each of which JAX can read.

    Raises:
        ExportFileError: The file is missing, foreign, damaged or too new.
        MissingExtraError: `flatbuffers` is not installed.
    """
    require_flatbuffers("reading an exported kernel")
    foreign = "Give a file that plan.export(...).save(path) wrote"
    try:
        with zipfile.ZipFile(path) as archive:
            header = _header(path, archive)
            programs = {name: archive.read(f"{name}{_SUFFIX}") for name in _PROGRAMS}
    except FileNotFoundError as error:
        raise ExportFileError(
            source=str(path), reason="there is no such file", remedy=foreign
        ) from error
    except (OSError, zipfile.BadZipFile, zlib.error, *_DAMAGED) as error:
        raise ExportFileError(
            source=str(path),
            reason=f"it is no exported kernel of ntkplan, or damaged ({error})",
            remedy=foreign,
        ) from error
    for program in programs.values():
        _check_readable(path, program, header["versions"])
    return header, programs


def _header(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    header = json.loads(archive.read(_HEADER))
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError("its header is another's")
    if header["schema"] != SCHEMA:
        newer = header["schema"] > SCHEMA
        raise ExportFileError(
            source=str(path),
            reason=f"its schema is {header['schema']}, written by ntkplan "
            f"{header['versions']['ntkplan']}; this ntkplan reads {SCHEMA}",
            remedy="Upgrade ntkplan" if newer else "Export the plan again",
        )
    return header


def _check_readable(path: Path, program: bytes, versions: Mapping[str, str]) -> None:
    """Lets JAX read a program, which it refuses where that is too old or too new."""
    try:
        jax.export.deserialize(bytearray(program))
    except Exception as error:
        raise ExportFileError(
            source=str(path),
            reason=f"JAX {jax.__version__} cannot read what JAX {versions['jax']} "
            f"wrote ({error})",
            remedy="Use a JAX that is as new and at most half a year newer, or export "
            "the plan again",
        ) from error
