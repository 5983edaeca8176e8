"""What is said where examples interact, or may do so."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanError, NtkPlanWarning

_REMEDY = (
    "Make them independent (batch normalisation in eval mode, statistics over other "
    "axes than the batch, no dropout), or pass batch_axis=None to compute the kernel "
    "of the whole batch as one input."
)


class InteractingExamplesError(NtkPlanError):
    """The output for one example depends on the other examples of its batch."""

    def __init__(
        self, *, equation: str, primitive: str, source: object | None, why: str
    ) -> None:
        """Builds the message.

        Args:
            equation: What is applied to what, with shapes.
            primitive: The name of what is applied.
            source: The user's line, or None where it is not known.
            why: What the equation does to the examples, as a clause about "it".
        """
        where = f" at {source}" if source is not None else ""
        super().__init__(
            f"the examples of a batch interact: `{primitive}`{where}: {why}.\n"
            f"  {equation}\n"
            f"batch_axis says that each output belongs to one example alone. {_REMEDY}"
        )
        self.equation, self.primitive = equation, primitive
        self.source, self.why = source, why


class UndecidedIndependenceWarning(NtkPlanWarning):
    """It is not proven that the examples of a batch are independent of each other."""

    def __init__(
        self,
        *,
        equation: str,
        primitive: str,
        source: object | None,
        why: str,
        tested: bool,
    ) -> None:
        """Builds the message.

        Args:
            equation: What is applied to what, with shapes.
            primitive: The name of what is applied.
            source: The user's line, or None where it is not known.
            why: What is unclear, as a clause about "it".
            tested: Whether a test on given arrays found the examples independent.
        """
        where = f" at {source}" if source is not None else ""
        state = (
            "was tested on the given arrays and held, but is not proven"
            if tested
            else "is neither proven nor tested, since only shapes were given"
        )
        advice = "" if tested else "Give arrays to have it tested. "
        super().__init__(
            f"that the examples of a batch are independent of each other {state}: "
            f"`{primitive}`{where}: {why}.\n  {equation}\n"
            f"{advice}If they interact, the kernel is wrong. {_REMEDY}"
        )
        self.equation, self.primitive = equation, primitive
        self.source, self.why, self.tested = source, why, tested
