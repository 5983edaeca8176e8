"""Errors about a model: its leaves, its outputs and its derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ntkplan.errors.base import NtkPlanError
from ntkplan.errors.places import place_of, short_text


class UnsupportedPrimitiveError(NtkPlanError):
    """A parameter reaches the output through a primitive that has no derivative."""

    def __init__(
        self,
        *,
        primitive: str,
        source: object | None,
        path: str,
        reason: str | None = None,
    ) -> None:
        """Builds the message from the primitive, its line and the parameter.

        Args:
            primitive: The name of what is applied.
            source: The user's line, or None where it is not known.
            path: The parameter.
            reason: What JAX says of its derivative, or None where it has none.
        """
        where = f" at {source}" if source is not None else ""
        said = "" if reason is None else f"JAX says: {reason}\n"
        hint = (
            "Use lax.scan or lax.fori_loop with a static trip count, or leave the leaf "
            "out with wrt=."
            if primitive == "while"
            else "Use a differentiable form, give it a derivative with jax.custom_vjp, "
            "or leave the leaf out with wrt=."
        )
        super().__init__(
            f"no reverse-mode derivative for `{primitive}`{where}.\n"
            f"Parameter {path or '(the whole of params)'} reaches the output through "
            f"it.\n{said}{hint}"
        )
        self.primitive, self.source, self.path = primitive, source, path
        self.reason = reason


class MutableReferenceError(NtkPlanError):
    """A model that writes to a mutable array."""

    def __init__(self, *, primitive: str, source: object | None) -> None:
        """Builds the message from the operation on the reference and its line."""
        where = f" at {source}" if source is not None else ""
        super().__init__(
            f"the model uses a mutable reference: `{primitive}`{where}.\n"
            "ntkplan follows values, which never change. Write the update as a new "
            "array: x.at[index].set(value), or lax.scan with the array as its carry."
        )
        self.primitive, self.source = primitive, source


class NonFloatLeafError(NtkPlanError):
    """Leaves that should be differentiated hold no floating-point numbers."""

    def __init__(self, *, leaves: Mapping[str, str], wrt: str) -> None:
        """Builds the message.

        Args:
            leaves: The dtypes of these leaves, by path.
            wrt: Python text of a `wrt=` that leaves them out.
        """
        listed = ", ".join(
            f"{path or '(the whole of params)'} is {dtype}"
            for path, dtype in leaves.items()
        )
        many = len(leaves) > 1
        super().__init__(
            f"parameter{'s' * many} {listed}, which {'have' if many else 'has'} no "
            f"derivative.\nLeave {'them' if many else 'it'} out, for example with "
            f"wrt={wrt}."
        )


class ComplexLeafError(NtkPlanError):
    """A leaf that should be differentiated is complex."""

    def __init__(self, *, path: str, dtype: str, wrt: str) -> None:
        """Builds the message from the leaf and a `wrt=` that leaves it out."""
        super().__init__(
            f"parameter {path} is {dtype}; a kernel of complex parameters is not "
            "defined here.\nKeep real and imaginary parts as two real leaves, or leave "
            f"it out, for example with wrt={wrt}."
        )


class RunningStatisticsError(NtkPlanError):
    """Running statistics stand among the leaves that would be differentiated."""

    def __init__(self, *, paths: Sequence[str], wrt: str) -> None:
        """Builds the message from their paths, and a `wrt=` that leaves them out."""
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        super().__init__(
            f"parameter {paths[0]}{more} looks like a running statistic of a "
            "normalisation, by which no kernel is differentiated.\nClose over it, or "
            f"leave it out with wrt={wrt}; to differentiate by it all the same, pass "
            "wrt=lambda path, leaf: True."
        )


class NoLeavesError(NtkPlanError):
    """No leaf is left to differentiate."""

    def __init__(self) -> None:
        """Builds the message."""
        super().__init__(
            "there is no parameter to differentiate: `params` has no leaves, or wrt= "
            "leaves all of them out.\nPass the parameters as the first argument of f, "
            "or let wrt= return True for at least one leaf."
        )


class TracingError(NtkPlanError):
    """The model raised an exception while it was traced; that is its cause."""

    def __init__(
        self, *, error: Exception, given: str, batch_axis: int | None, hint: str
    ) -> None:
        """Builds the message.

        Args:
            error: What f raised.
            given: The shapes of x that it was traced with, as text.
            batch_axis: The axis that counts examples, or None.
            hint: What to do, as a sentence without its full stop.
        """
        super().__init__(
            f"f could not be traced with x of shape {given} (batch_axis={batch_axis})"
            f"{place_of(error)}:\n  {short_text(error)}\n{hint}."
        )


class TracedConstantError(NtkPlanError):
    """The model is closed over an array that has no value where it is planned."""

    def __init__(self, *, shapes: Sequence[str]) -> None:
        """Builds the message.

        Args:
            shapes: Data types and shapes of such arrays, as `float32[8]`.
        """
        super().__init__(
            f"f is closed over what JAX traces itself: {', '.join(shapes)}.\n"
            "A kernel's text holds the values of such arrays, and inside of jax.jit, "
            "jax.vmap or jax.grad there are none yet. Pass them in params, and leave "
            "them out with wrt= if the kernel is not to be of them; or call ntkplan "
            "outside."
        )


class OutputError(NtkPlanError):
    """An output of the model is no array that a kernel could be of."""

    def __init__(self, *, why: str, hint: str, path: str = "") -> None:
        """Builds the message.

        Args:
            why: What is wrong with it.
            hint: What to do about it.
            path: Where it is in the tree that f returns; empty for an array alone.
        """
        which = f"output {path}" if path else "the output"
        super().__init__(f"{which} of f cannot have a kernel: {why}.\nPlease {hint}.")
        self.path = path


class NoExampleAxisError(NtkPlanError):
    """An input array has no axis that `batch_axis` could mean."""

    def __init__(self, *, shape: tuple[int, ...], batch_axis: int) -> None:
        """Builds the message from the array's shape."""
        super().__init__(
            f"an array of x has the shape {list(shape)}, without an axis {batch_axis} "
            "that counts examples.\nGive every array of x an example axis, name it "
            "with batch_axis=, and close over arrays that all examples share."
        )
