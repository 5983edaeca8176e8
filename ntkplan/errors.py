"""Every exception and warning of ntkplan; each builds its message from fields.

A message says what happened, where in the user's source, through which parameter,
and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


class InvalidTilesError(NtkPlanError):
    """A kernel cannot be put together from tiles as it was asked."""

    def __init__(self, *, what: str, remedy: str) -> None:
        """Builds the message.

        Args:
            what: What does not fit, with the sizes or shapes that show it.
            remedy: What to do about it.
        """
        super().__init__(f"{what}\n{remedy}")


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


class NoLeavesError(NtkPlanError):
    """No leaf is left to differentiate."""

    def __init__(self) -> None:
        """Builds the message."""
        super().__init__(
            "there is no parameter to differentiate: `params` has no leaves, or wrt= "
            "leaves all of them out.\nPass the parameters as the first argument of f, "
            "or let wrt= return True for at least one leaf."
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


class UnknownOptionError(NtkPlanError):
    """An option's value is none of the known ones."""

    def __init__(self, *, option: str, value: object, known: tuple[str, ...]) -> None:
        """Builds the message, with the values there are."""
        super().__init__(f"unknown {option} {value!r}.\nKnown: {', '.join(known)}.")


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


class MemoryLimitError(NtkPlanError):
    """No choice of methods fits the memory limit."""

    def __init__(self, *, limit_bytes: int, least_bytes: int) -> None:
        """Builds the message from the limit and the least that would do."""
        super().__init__(
            f"the kernel needs at least {readable_bytes(least_bytes)} "
            f"({least_bytes} bytes) at once, and memory_limit is "
            f"{readable_bytes(limit_bytes)}.\nRaise memory_limit to at least "
            f'"{readable_bytes(least_bytes)}", or plan for fewer examples at a time '
            "and put the kernel together with ntkplan.kernel_in_tiles."
        )
        self.limit_bytes, self.least_bytes = limit_bytes, least_bytes


class MethodNotApplicableError(NtkPlanError):
    """A method that was forced on a leaf cannot be used for it."""

    def __init__(self, *, method: str, path: str, why: str, hint: str) -> None:
        """Builds the message from the method, the leaf and the reason."""
        super().__init__(
            f"{method} cannot be used for parameter {path}: {why}.\n{hint}."
        )


class UnprintableError(NtkPlanError):
    """The kernel holds parts that no Python source can stand for."""

    def __init__(self, *, parts: tuple[str, ...]) -> None:
        """Builds the message from the list of such parts."""
        listed = "\n".join(f"  {part}" for part in parts)
        super().__init__(
            "the kernel runs in this process, but it cannot be saved as a file of its "
            f"own, since these parts have no source:\n{listed}\nReplace them in the "
            "model, or keep using plan.compile()."
        )


class InaccurateKernelError(NtkPlanError):
    """A kernel differs from the dense Jacobian's."""

    def __init__(self, *, error: float, limit: float, output: str = "") -> None:
        """Builds the message from the error found, and the output's path."""
        which = f" of output {output}" if output else ""
        super().__init__(
            f"the kernel{which} differs from the dense float64 Jacobian's by "
            f"{error:.3g} relative to its largest entry, more than {limit:.3g}.\n"
            "Please report the model: every method of ntkplan is exact."
        )


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


class InvalidDeviceProfileError(NtkPlanError):
    """A device profile with a field that is missing, unknown or out of range."""

    def __init__(self, *, profile: str, field: str, reason: str) -> None:
        """Builds the message.

        Args:
            profile: The file or the name of the profile.
            field: Path of the field, as `rates[3].read_bytes_per_s`.
            reason: What is wrong with it.
        """
        super().__init__(
            f"device profile {profile}: field {field} {reason}.\n"
            "cost_models/README.md describes every field; "
            "`python -m benchmarks.calibrate` writes a valid profile."
        )
        self.profile = profile
        self.field = field
        self.reason = reason


class UnknownDeviceError(NtkPlanError):
    """A device name that no profile has."""

    def __init__(self, *, device: str, known: tuple[str, ...]) -> None:
        """Builds the message.

        Args:
            device: What was asked for.
            known: Names of the profiles there are.
        """
        super().__init__(
            f"no device profile for {device!r}.\n"
            f"There are: {', '.join(known) or 'none'}. Give one of these names, a path "
            "to a .toml profile, or measure this machine with "
            "`python -m benchmarks.calibrate`."
        )
        self.device = device
        self.known = known


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


_REMEDY = (
    "Make them independent (batch normalisation in eval mode, statistics over other "
    "axes than the batch, no dropout), or pass batch_axis=None to compute the kernel "
    "of the whole batch as one input."
)


class EndlessDerivativeError(NotPrintableError):
    """A custom derivative that needs another one, and that one yet another."""


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
