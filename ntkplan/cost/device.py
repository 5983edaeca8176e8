"""Which device profiles there are, and which one to use."""

from __future__ import annotations

import functools
import os
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from ntkplan.cost.choice import PLATFORM_NAMES, Choice, choose
from ntkplan.cost.host import this_host
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.schema import profile_from_fields
from ntkplan.errors import (
    InvalidDeviceProfileError,
    NtkPlanWarning,
    UnknownDeviceError,
)


def shipped_folder() -> Path:
    """Returns the folder of the profiles that come with the package.

    In a wheel it lies inside the package, in a checkout beside it.
    """
    package = Path(__file__).resolve().parent.parent
    inside = package / "cost_models"
    return inside if inside.is_dir() else package.parent / "cost_models"


def user_folder() -> Path:
    """Returns the folder in the user's cache where calibrated profiles lie."""
    return platformdirs.user_cache_path("ntkplan") / "cost_models"


def available_profiles() -> tuple[DeviceProfile, ...]:
    """Returns every profile there is, the user's calibrated ones first.

    A calibrated profile takes the place of a shipped one of the same name.

    Raises:
        InvalidDeviceProfileError: A shipped profile is not valid. An invalid one in
            the user's cache is left out with a warning.
    """
    found: dict[str, DeviceProfile] = {}
    for profile in (*_calibrated(warns=True), *_shipped()):
        found.setdefault(profile.name, profile)
    return tuple(found.values())


def _shipped() -> Iterator[DeviceProfile]:
    for path in sorted(shipped_folder().glob("*.toml")):
        yield read_profile(path)


def _calibrated(*, warns: bool) -> Iterator[DeviceProfile]:
    for path in sorted(user_folder().glob("*.toml")):
        try:
            yield read_profile(path)
        except InvalidDeviceProfileError as error:
            if not warns:
                continue
            message = (
                f"the calibrated profile is ignored. {error}\n"
                "Run `ntkplan calibrate` again, or delete the file."
            )
            warnings.warn(message, NtkPlanWarning, stacklevel=4)


def calibrated_names() -> frozenset[str]:
    """Returns the names of the valid profiles in the user's cache."""
    return frozenset(profile.name for profile in _calibrated(warns=False))


def read_profile(path: str | os.PathLike[str]) -> DeviceProfile:
    """Reads one file.

    Args:
        path: A TOML file, as `cost_models/README.md` describes it.

    Returns:
        The profile.

    Raises:
        UnknownDeviceError: There is no such file.
        InvalidDeviceProfileError: The file is not a valid profile.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnknownDeviceError(device=str(path), known=_names()) from error
    return _parsed(text, str(path))


@functools.lru_cache(maxsize=64)
def _parsed(text: str, path: str) -> DeviceProfile:
    """Checks a profile's text; plans ask for the same few again and again."""
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidDeviceProfileError(
            profile=path, field="(whole file)", reason=f"is not TOML: {error}"
        ) from error
    return profile_from_fields(fields, where=path)


def load_profile(
    device: str | os.PathLike[str] | DeviceProfile,
) -> DeviceProfile:
    """Returns a profile by its name, its file, its platform, or as it is.

    Args:
        device: A name as `nvidia_h200`; a path to a `.toml` file; a platform, where it
            has one profile or a calibrated one; or a profile.

    Returns:
        The profile.

    Raises:
        UnknownDeviceError: Nothing is called that; the message lists what there is.
        InvalidDeviceProfileError: The file is not a valid profile.

    Example:
        >>> load_profile("tpu_v5e").platform
        <Platform.TPU: 'tpu'>
    """
    if isinstance(device, DeviceProfile):
        return device
    text = os.fspath(device)
    if not isinstance(device, str) or text.endswith(".toml"):
        return read_profile(text)
    profiles = available_profiles()
    for profile in profiles:
        if profile.name == text:
            return profile
    platform = PLATFORM_NAMES.get(text)
    alike = [profile for profile in profiles if profile.platform == platform]
    calibrated = calibrated_names()
    preferred = [profile for profile in alike if profile.name in calibrated] or alike
    if len(preferred) == 1:
        return preferred[0]
    raise UnknownDeviceError(
        device=text, known=tuple(profile.name for profile in profiles)
    )


def _names() -> tuple[str, ...]:
    return tuple(profile.name for profile in available_profiles())


def profile_for(
    platform: str,
    device_kind: str,
    profiles: tuple[DeviceProfile, ...] | None = None,
) -> DeviceProfile:
    """Returns the profile of a device that JAX runs on.

    Args:
        platform: JAX's `device.platform`.
        device_kind: JAX's `device.device_kind`.
        profiles: Where to look, the preferred ones first; None is
            `available_profiles()`.

    Returns:
        The profile of the same kind of device, the user's calibrated one first; where
        there is none, the nearest of the platform, with a warning. A CPU is the nearest
        without a warning to one of the same architecture.

    Raises:
        UnknownDeviceError: No profile has that platform.
    """
    found = choice_for(platform, device_kind, profiles)
    if not found.alike:
        warnings.warn(
            f"no device profile for {device_kind!r}: costs are estimated as for "
            f"{found.profile.name} ({found.why}). Run `ntkplan calibrate` on this "
            "machine, or choose with device=.",
            NtkPlanWarning,
            stacklevel=2,
        )
    return found.profile


def choice_for(
    platform: str,
    device_kind: str,
    profiles: tuple[DeviceProfile, ...] | None = None,
) -> Choice:
    """Returns which profile a device that JAX runs on gets, and why.

    Args:
        platform: JAX's `device.platform`.
        device_kind: JAX's `device.device_kind`.
        profiles: Where to look, the preferred ones first; None is
            `available_profiles()`.

    Raises:
        UnknownDeviceError: No profile has that platform.
    """
    profiles = available_profiles() if profiles is None else profiles
    found = choose(platform, device_kind, this_host(), profiles, calibrated_names())
    if found is None:
        raise UnknownDeviceError(
            device=f"{platform}: {device_kind}",
            known=tuple(profile.name for profile in profiles),
        )
    return found
