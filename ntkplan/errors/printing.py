"""Errors about what has no source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from ntkplan.errors.base import NtkPlanError


class UnprintableError(NtkPlanError):
    """The kernel holds parts that no Python source can stand for."""

    def __init__(self, *, parts: tuple[str, ...]) -> None:
        """Builds the message from the list of such parts."""
        listed = "\n".join(f"  {part}" for part in parts)
        super().__init__(
            "the kernel runs in this process, but it cannot be saved as a file of its "
            f"own, since these parts have no source:\n{listed}\nReplace them in the "
            "model, keep using plan.compile(), or let the file import the model: "
            'plan.save(path, model="package.module:function").'
        )

    @classmethod
    def of(cls, references: Iterable[str], reasons: Mapping[str, str]) -> Self:
        """Builds the error for what a module calls by reference, by name.

        Args:
            references: Names of the functions that have no source.
            reasons: Why, by name.
        """
        return cls(
            parts=tuple(f"{name}: {reasons[name]}" for name in sorted(references))
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
