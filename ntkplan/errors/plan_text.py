"""Errors about plans that are written as text, and read again."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanError


class UnreadablePlanError(NtkPlanError):
    """A text is no plan that this version of ntkplan can read."""

    def __init__(self, *, reason: str, hint: str) -> None:
        """Builds the message.

        Args:
            reason: What is wrong with the text.
            hint: What to do about it.
        """
        super().__init__(f"the text cannot be read as a plan: {reason}.\n{hint}.")


class UnwritablePlanError(NtkPlanError):
    """A plan holds something that its text could not bring back."""

    def __init__(self, *, what: str, hint: str) -> None:
        """Builds the message.

        Args:
            what: What cannot be written.
            hint: What to do about it.
        """
        super().__init__(f"the plan cannot be written as JSON: {what}.\n{hint}.")


class ModelNeededError(NtkPlanError):
    """A plan that was read from text is asked for what only the model can tell."""

    def __init__(self, *, what: str, call: str) -> None:
        """Builds the message.

        Args:
            what: What was asked for.
            call: How the plan was made, as Python text.
        """
        super().__init__(
            f"{what} needs the model, which a plan that was read from JSON does not "
            f"hold.\nPlan again: {call}."
        )
