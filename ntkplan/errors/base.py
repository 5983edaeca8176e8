"""Base classes of errors and warnings, and the error that is a bug of ntkplan."""

from __future__ import annotations


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
            return f"{value:.0f}B" if unit == "B" else f"{value:.3g}{unit}"
        value /= 1024
    return f"{value:.3g}TiB"
