"""Errors about results, and the files that they go to."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanError


class InaccurateKernelError(NtkPlanError):
    """A kernel differs from the dense Jacobian's."""

    def __init__(self, *, error: float, limit: float, output: str = "") -> None:
        """Builds the message from the error found, and the output's path."""
        which = f" of output {output}" if output else ""
        super().__init__(
            f"the kernel{which} differs from the dense float64 Jacobian's by "
            f"{error:.3g} relative to its largest entry, more than {limit:.3g}.\n"
            "Check that f, params and wrt= are those that were planned for: the "
            "kernel of another model is another kernel. If they are, please report the "
            "model: every method of ntkplan is exact."
        )


class SingularKernelError(NtkPlanError):
    """Kernel regression has no stable solution."""

    def __init__(self, *, n_train: int, ridge: float, reason: str) -> None:
        """Builds the message.

        Args:
            n_train: Training examples.
            ridge: The ridge, as a fraction of the kernel's mean diagonal.
            reason: What was seen.
        """
        super().__init__(
            f"kernel regression on {n_train} examples with ridge {ridge:g}: {reason}.\n"
            "Use a larger ridge, and look for examples that occur twice."
        )


class UnwritableFileError(NtkPlanError):
    """A file that is to be written cannot be, or belongs to somebody else."""

    def __init__(self, *, path: str, reason: str, remedy: str) -> None:
        """Builds the message.

        Args:
            path: The file.
            reason: Why it cannot be written.
            remedy: What to do about it.
        """
        super().__init__(f"cannot write {path}: {reason}.\n{remedy}")


class ModelReferenceError(NtkPlanError):
    """`model=` does not name the model, to be imported by a saved file."""

    def __init__(self, *, reference: str, reason: str) -> None:
        """Builds the message.

        Args:
            reference: What was given.
            reason: What is wrong with it.
        """
        super().__init__(
            f"model={reference!r} names no model to import: {reason}.\n"
            'Give model="package.module:function", where function(params, x) is the '
            "model that was planned and can be imported by that name where the file is."
        )


class ProblemReferenceError(NtkPlanError):
    """`module:function` on the command line does not give a problem to plan."""

    def __init__(self, *, reference: str, reason: str) -> None:
        """Builds the message.

        Args:
            reference: What was given.
            reason: What is wrong with it.
        """
        super().__init__(
            f"{reference!r} gives no problem: {reason}.\n"
            "Give module:function or path/to/file.py:function, where function() "
            "returns (f, params, x1) or (f, params, x1, x2)."
        )
