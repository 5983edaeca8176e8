"""What is wrong with the compiler."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanWarning


class MiscompiledSumsWarning(NtkPlanWarning):
    """The compiler gets sums wrong, and ntkplan cannot keep it from that here."""

    def __init__(self, *, version: str, flags: str, where: str) -> None:
        """Builds the message.

        Args:
            version: JAX's version.
            flags: What `XLA_FLAGS` has to hold.
            where: Where the kernel is compiled, as a clause.
        """
        super().__init__(
            f"the CPU compiler of JAX {version} gets sums wrong that are broadcast "
            "back, such as those in the derivatives of layer normalisations. A kernel "
            "that plan.compile() returned is compiled without that fault, but not "
            f"{where}: set XLA_FLAGS={flags} in the environment before JAX starts, or "
            "give the outermost jax.jit compiler_options=plan.compiler_options, which "
            "this warning cannot see"
        )
