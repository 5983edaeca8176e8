"""Errors about exported kernels and the files that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.errors.base import NtkPlanError


class ExportError(NtkPlanError):
    """A kernel that JAX cannot export."""

    def __init__(
        self, *, platforms: Sequence[str], reason: str, parts: Sequence[str] = ()
    ) -> None:
        """Builds the message.

        Args:
            platforms: What it was to be exported for.
            reason: What JAX says.
            parts: Parts of the model that have no source, each with why.
        """
        lines = [f"cannot export the kernel for {', '.join(platforms)}: {reason}."]
        if parts:
            lines.append("These parts of the model run by reference:")
            lines += [f"  {part}" for part in parts]
            lines.append(
                "Write them as JAX functions, export for one platform alone where it "
                "is the combination that JAX refuses, or use plan.compile()."
            )
        else:
            lines.append(
                "Export for one platform alone where it is the combination that JAX "
                "refuses, or use plan.save() for a file of source."
            )
        super().__init__("\n".join(lines))
        self.platforms, self.reason = tuple(platforms), reason
        self.parts = tuple(parts)


class ExportFileError(NtkPlanError):
    """A file that holds no exported kernel which could be read."""

    def __init__(self, *, source: str, reason: str, remedy: str) -> None:
        """Builds the message.

        Args:
            source: The file.
            reason: What is wrong with it.
            remedy: What to do about it.
        """
        super().__init__(f"cannot load {source}: {reason}.\n{remedy}.")
        self.source, self.reason = source, reason


class ExportPlatformError(NtkPlanError):
    """An exported kernel is called where it was not exported for."""

    def __init__(self, *, platform: str, platforms: Sequence[str]) -> None:
        """Builds the message from where it is called and what there is."""
        super().__init__(
            f"the kernel was exported for {', '.join(platforms)}, and the examples "
            f"are on {platform}.\nExport it again with "
            f'plan.export(platforms=({", ".join(map(repr, platforms))}, "...")) '
            "and this platform among them."
        )
        self.platform, self.platforms = platform, tuple(platforms)


class MissingExtraError(NtkPlanError):
    """A package is not installed that an extra of ntkplan brings."""

    def __init__(self, *, what: str, package: str, extra: str) -> None:
        """Builds the message.

        Args:
            what: What needs the package.
            package: The package.
            extra: The extra.
        """
        super().__init__(
            f"{what} needs {package}, which is not installed.\n"
            f"Install it with `pip install {package}`, or with ntkplan as its extra "
            f"`{extra}`: `pip install '.[{extra}]'` in a checkout."
        )
        self.package, self.extra = package, extra
