"""Base classes of errors and warnings, and the error that is a bug of ntkplan."""

from __future__ import annotations

import math


class NtkPlanError(Exception):
    """Base class of every error that a user of ntkplan can cause."""


class NtkPlanWarning(UserWarning):
    """Base class of every warning that ntkplan gives."""


class InternalError(Exception):
    """A broken invariant: a bug in ntkplan, not in the user's code."""

    def __init__(self, what: str, ir: object = "") -> None:
        """Builds the message.

        Args:
            what: The invariant that does not hold.
            ir: Whatever part of the intermediate representation shows it.
        """
        super().__init__(f"bug in ntkplan: {what}\n{ir}".rstrip())


def readable_bytes(count: float) -> str:
    """Returns a byte count as people write it.

    Example:
        >>> readable_bytes(1536)
        '1.5KiB'
    """
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            digits = ".0f" if unit == "B" or value >= 999.5 else ".3g"
            return f"{value:{digits}}{unit}"
        value /= 1024
    return f"{value:.3g}TiB"


def enough_bytes(count: float) -> str:
    """Returns a byte count as people write it, rounded up.

    Example:
        >>> readable_bytes(827_604), enough_bytes(827_604)
        ('808KiB', '809KiB')
    """
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    if units[0] == "B" or value >= 100:
        return f"{math.ceil(value)}{units[0]}"
    digits = 1 if value >= 10 else 2
    return f"{math.ceil(value * 10**digits) / 10**digits:g}{units[0]}"
