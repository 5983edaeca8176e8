"""Errors about what was asked for."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanError, enough_bytes, readable_bytes


class UnknownOptionError(NtkPlanError):
    """An option's value is none of the known ones."""

    def __init__(self, *, option: str, value: object, known: tuple[str, ...]) -> None:
        """Builds the message, with the values there are."""
        super().__init__(f"unknown {option} {value!r}.\nKnown: {', '.join(known)}.")


class ArgumentTypeError(NtkPlanError):
    """An argument is of a kind that it cannot be."""

    def __init__(
        self, *, name: str, value: object, wanted: str, hint: str = ""
    ) -> None:
        """Builds the message.

        Args:
            name: The argument, with the place in it.
            value: What was given.
            wanted: What it has to be, in words.
            hint: What to do, as a sentence without its full stop.
        """
        more = f"\n{hint}." if hint else ""
        super().__init__(f"{name} is {_described(value)}; it has to be {wanted}.{more}")
        self.name = name


_MOST_SHOWN = 60


def _described(value: object) -> str:
    """Says what a value is, with its type where the text does not show it."""
    if value is None:
        return "None"
    kind = type(value).__name__
    text = repr(value)
    if len(text) > _MOST_SHOWN or "\n" in text or text.startswith("<"):
        name = getattr(value, "__name__", "")
        return f"a {kind}" + (f", {name}" if name else "")
    return f"{text} ({kind})"


class ConflictingOptionsError(NtkPlanError):
    """Two options say different things."""

    def __init__(self, *, what: str, hint: str) -> None:
        """Builds the message."""
        super().__init__(f"{what}.\n{hint}.")


class MismatchedInputsError(NtkPlanError):
    """Inputs do not fit each other, or not what was planned for."""

    def __init__(self, *, what: str, got: object, wanted: object, hint: str) -> None:
        """Builds the message from what was given and what was wanted."""
        super().__init__(f"{what}: got {got}, wanted {wanted}.\n{hint}.")


class InvalidSizeError(NtkPlanError):
    """A kernel cannot be planned for such numbers of examples."""

    def __init__(self, *, what: str, hint: str) -> None:
        """Builds the message."""
        super().__init__(f"{what}.\n{hint}.")


class MemoryLimitError(NtkPlanError):
    """No choice of methods fits the memory limit."""

    def __init__(self, *, limit_bytes: int, least_bytes: int) -> None:
        """Builds the message from the limit and the least that would do."""
        super().__init__(
            f"the kernel needs at least {readable_bytes(least_bytes)} "
            f"({least_bytes} bytes) at once, and memory_limit is "
            f"{readable_bytes(limit_bytes)}.\nRaise memory_limit to at least "
            f'"{enough_bytes(least_bytes)}", or plan for fewer examples at a time '
            "and put the kernel together with ntkplan.kernel_in_tiles."
        )
        self.limit_bytes, self.least_bytes = limit_bytes, least_bytes


class MemoryExceededError(NtkPlanError):
    """A kernel, once compiled, needs more than the memory limit."""

    def __init__(
        self, *, compiled_bytes: int, estimated_bytes: float, limit_bytes: float
    ) -> None:
        """Builds the message from what was estimated, found and allowed."""
        super().__init__(
            f"the compiled kernel needs {readable_bytes(compiled_bytes)}, where "
            f"{readable_bytes(estimated_bytes)} was estimated and memory_limit is "
            f"{readable_bytes(limit_bytes)}.\nPlan with a memory_limit that is lower "
            "by the difference, or raise it."
        )
        self.compiled_bytes, self.estimated_bytes = compiled_bytes, estimated_bytes
        self.limit_bytes = limit_bytes


class MethodNotApplicableError(NtkPlanError):
    """A method that was forced on a leaf cannot be used for it."""

    def __init__(self, *, method: str, path: str, why: str, hint: str) -> None:
        """Builds the message from the method, the leaf and the reason."""
        super().__init__(
            f"{method} cannot be used for parameter {path}: {why}.\n{hint}."
        )


class VmapAxesError(NtkPlanError):
    """`vmap_axes` do not say where the examples are."""

    def __init__(self, *, what: str, hint: str) -> None:
        """Builds the message.

        Args:
            what: What does not fit.
            hint: What to do about it, as a sentence without its full stop.
        """
        super().__init__(f"{what}.\n{hint}.")


class KeywordArgumentError(NtkPlanError):
    """A keyword argument of the model cannot be passed on to it."""

    def __init__(self, *, name: str, why: str, hint: str) -> None:
        """Builds the message.

        Args:
            name: The argument.
            why: What is wrong with it, as a clause about it.
            hint: What to do about it, as a sentence without its full stop.
        """
        super().__init__(f"keyword argument {name} {why}.\n{hint}.")


class InvalidTilesError(NtkPlanError):
    """A kernel cannot be put together from tiles as it was asked."""

    def __init__(self, *, what: str, remedy: str) -> None:
        """Builds the message.

        Args:
            what: What does not fit, with the sizes or shapes that show it.
            remedy: What to do about it.
        """
        super().__init__(f"{what}\n{remedy}")
