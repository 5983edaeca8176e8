"""Errors about device profiles."""

from __future__ import annotations

from ntkplan.errors.base import NtkPlanError


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
            "`ntkplan calibrate` writes a valid profile."
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
            "`ntkplan calibrate`."
        )
        self.device = device
        self.known = known


class CalibrationError(NtkPlanError):
    """A device that cannot be measured."""

    def __init__(self, *, device: str, why: str, hint: str) -> None:
        """Builds the message.

        Args:
            device: What was to be measured.
            why: What is wrong.
            hint: What to do.
        """
        super().__init__(f"cannot calibrate {device}: {why}.\n{hint}.")
        self.device = device
        self.why = why
        self.hint = hint


class TooLittleTimeError(CalibrationError):
    """A calibration for which there was not enough time."""
