"""Errors about what has no source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from ntkplan.errors.base import NtkPlanError

_NO_FILE = "it cannot be saved as a file of its own"
_GIVE_MODEL = (
    "Replace them in the model, keep using plan.compile(), or let the file import the "
    'model: plan.save(path, model="package.module:function")'
)


class UnprintableError(NtkPlanError):
    """The kernel holds parts that no Python source can stand for."""

    def __init__(
        self, *, parts: tuple[str, ...], what: str = _NO_FILE, remedy: str = _GIVE_MODEL
    ) -> None:
        """Builds the message.

        Args:
            parts: The parts, each with why.
            what: What cannot be done, as a clause.
            remedy: What to do about it, as a sentence without its full stop.
        """
        listed = "\n".join(f"  {part}" for part in parts)
        super().__init__(
            f"the kernel runs in this process, but {what}, since these parts have no "
            f"source:\n{listed}\n{remedy}."
        )

    @classmethod
    def of(
        cls, references: Iterable[str], reasons: Mapping[str, str], **said: str
    ) -> Self:
        """Builds the error for what a module calls by reference, by name.

        Args:
            references: Names of the functions that have no source.
            reasons: Why, by name.
            **said: `what` and `remedy`, where they are others.
        """
        parts = tuple(f"{name}: {reasons[name]}" for name in sorted(references))
        return cls(parts=parts, **said)

    @classmethod
    def of_model(cls, reference: str, part: str) -> Self:
        """Builds the error for a model that the file was to import.

        Args:
            reference: `package.module:function`.
            part: What is not found in it, and why.
        """
        return cls(
            parts=(part,),
            what=f"no file that imports {reference} can be written",
            remedy="Give the function that was planned. Where it is that, replace "
            "these parts in the model, or keep using plan.compile()",
        )


class NotPrintableError(NtkPlanError):
    """An equation that no Python source stands for; it is called by reference."""

    def __init__(self, *, primitive: str, reason: str) -> None:
        """Builds the message.

        Args:
            primitive: The name of what is applied.
            reason: Why it cannot be printed.
        """
        super().__init__(
            f"`{primitive}` cannot be printed as source: {reason}.\n"
            "It runs by reference in this process; to save the kernel as a file of "
            "its own, write this part of the model with jax.numpy or jax.lax."
        )
        self.primitive = primitive
        self.reason = reason


class EndlessDerivativeError(NotPrintableError):
    """A custom derivative that needs another one, and that one yet another."""
