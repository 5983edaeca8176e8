"""Every exception and warning of ntkplan; each builds its message from fields.

A message says what happened, where in the user's source, through which parameter,
and what to do about it.
"""

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
