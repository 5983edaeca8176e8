"""Timings on disk, so that no program is timed twice."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from ntkplan.errors import NtkPlanWarning

SCHEMA_VERSION = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """What is known of one program.

    Attributes:
        seconds: What a call took, or None where there was no time to find out.
        budget_s: The budget that it was measured within, or that was too small.
        what: The program, in words, for whoever reads the file.
        doubt: How sure the seconds are beside those of the programs that were timed
            with it, see `ntkplan.tuning.timer.Measured`.
    """

    seconds: float | None
    budget_s: float
    what: str
    doubt: float = 0.0

    def answers(self, budget_s: float) -> bool:
        """Says whether another measurement within a budget would tell no more."""
        return self.seconds is not None or self.budget_s >= budget_s


def timings_folder() -> Path:
    """Returns the folder in the user's cache where timings lie."""
    return platformdirs.user_cache_path("ntkplan") / "timings"


def timings_file(device_kind: str) -> Path:
    """Returns the file for one kind of device and the installed jaxlib."""
    version = importlib.metadata.version("jaxlib")
    name = re.sub(r"[^A-Za-z0-9.]+", "_", f"{device_kind} jaxlib {version}")
    return timings_folder() / f"{name}.json"


def digest(*parts: object) -> str:
    """Returns a hash that is the same in every process.

    Args:
        *parts: What JSON can hold.
    """
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class TimingCache:
    """Timings by the digest of their program; one file for each kind of device.

    Attributes:
        path: The file.
    """

    def __init__(self, device_kind: str, path: Path | None = None) -> None:
        self.path = path or timings_file(device_kind)
        self._device_kind = device_kind
        self._jaxlib = importlib.metadata.version("jaxlib")
        self._known = self._read()
        self._new: dict[str, Timing] = {}

    def get(self, key: str) -> Timing | None:
        """Returns what is known of a program."""
        return self._new.get(key) or self._known.get(key)

    def put(self, key: str, timing: Timing) -> None:
        """Keeps what was measured; `save` writes it."""
        self._new[key] = timing

    def save(self) -> None:
        """Adds what is new to the file, in one step that no reader sees half of.

        A folder that cannot be written to is said in a warning.
        """
        if not self._new:
            return
        # Another process may have written since this one has read.
        self._known = {**self._read(warn=False), **self._new}
        fields = {
            "schema_version": SCHEMA_VERSION,
            "device_kind": self._device_kind,
            "jaxlib": self._jaxlib,
            "timings": {
                key: dataclasses.asdict(self._known[key]) for key in sorted(self._known)
            },
        }
        try:
            _replace(self.path, json.dumps(fields, indent=1) + "\n")
        except OSError as error:
            warnings.warn(
                f"timings cannot be kept in {self.path}: {error}. They will be "
                "measured again the next time.",
                NtkPlanWarning,
                stacklevel=2,
            )
        self._new = {}

    def _read(self, *, warn: bool = True) -> dict[str, Timing]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            reason = f"it cannot be read: {error}"
        else:
            try:
                return self._parsed(text)
            except ValueError as error:
                reason = str(error)
        if warn:
            warnings.warn(
                f"the cache of timings {self.path} is ignored and made anew: {reason}.",
                NtkPlanWarning,
                stacklevel=3,
            )
        return {}

    def _parsed(self, text: str) -> dict[str, Timing]:
        """Reads the file's text.

        Raises:
            ValueError: It is not what `save` writes.
        """
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from error
        wanted = {
            "schema_version": SCHEMA_VERSION,
            "device_kind": self._device_kind,
            "jaxlib": self._jaxlib,
        }
        if not isinstance(fields, dict):
            raise ValueError("it holds no object")
        for name, value in wanted.items():
            if fields.get(name) != value:
                raise ValueError(f"{name} is {fields.get(name)!r}, not {value!r}")
        timings = fields.get("timings")
        if not isinstance(timings, dict):
            raise ValueError("timings is no object")
        return {key: _timing(key, entry) for key, entry in timings.items()}


def _timing(key: str, entry: Any) -> Timing:
    """Checks one entry.

    Raises:
        ValueError: A field is missing, too many, or of another kind.
    """
    names = {field.name for field in dataclasses.fields(Timing)}
    if not isinstance(entry, Mapping) or set(entry) != names:
        raise ValueError(f"timings.{key} has other fields than {sorted(names)}")
    seconds, budget_s, what = entry["seconds"], entry["budget_s"], entry["what"]
    if not (seconds is None or _is_duration(seconds)):
        raise ValueError(f"timings.{key}.seconds is {seconds!r}")
    if not (_is_duration(budget_s) and isinstance(what, str)):
        raise ValueError(f"timings.{key} has a field of another type")
    doubt = entry["doubt"]
    if not (doubt == 0 or _is_duration(doubt)):
        raise ValueError(f"timings.{key}.doubt is {doubt!r}")
    return Timing(seconds=seconds, budget_s=budget_s, what=what, doubt=doubt)


def _is_duration(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _replace(path: Path, text: str) -> None:
    """Writes a file beside its place and moves it there.

    Raises:
        OSError: The folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
