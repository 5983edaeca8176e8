"""Which of several profiles is that of a device, or the nearest to it, and why."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Container, Sequence

from ntkplan.cost.host import Host
from ntkplan.cost.profile import DeviceProfile, Platform

PLATFORM_NAMES = {
    "cpu": Platform.CPU,
    "gpu": Platform.GPU,
    "cuda": Platform.GPU,
    "rocm": Platform.GPU,
    "tpu": Platform.TPU,
}
"""JAX's names of platforms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """A profile for a device.

    Attributes:
        profile: The profile.
        same: Whether it is that of the device, and not of one that is like it.
        alike: Whether it is good enough to use without a warning.
        why: Why it was chosen, in words.
    """

    profile: DeviceProfile
    same: bool
    alike: bool
    why: str


def choose(
    platform: str,
    device_kind: str,
    host: Host,
    profiles: Sequence[DeviceProfile],
    calibrated: Container[str],
) -> Choice | None:
    """Chooses a profile for a device that JAX runs on.

    Args:
        platform: JAX's `device.platform`.
        device_kind: JAX's `device.device_kind`.
        host: The CPU, which alone tells CPUs apart.
        profiles: Where to look, the preferred ones first.
        calibrated: Names of those that the user's own calibrations made.

    Returns:
        The choice, None where no profile has that platform.
    """
    wanted = PLATFORM_NAMES.get(platform)
    found = [profile for profile in profiles if profile.platform == wanted]
    if not found:
        return None
    if wanted is Platform.CPU:
        return _cpu(found, host, calibrated)
    for profile in found:
        if profile.device_kind == device_kind:
            why = _origin(profile, calibrated, "same kind of device")
            return Choice(profile=profile, same=True, alike=True, why=why)
    nearest = max(
        found, key=lambda profile: _likeness(profile.device_kind, device_kind)
    )
    why = f"nearest of its platform; this is {device_kind}"
    return Choice(profile=nearest, same=False, alike=False, why=why)


def _cpu(
    profiles: Sequence[DeviceProfile], host: Host, calibrated: Container[str]
) -> Choice:
    """Chooses among CPUs: of this processor, calibrated, of as many cores."""

    def nearness(profile: DeviceProfile) -> tuple[bool, ...]:
        return (
            profile.architecture == host.architecture,
            profile.processor == host.processor,
            profile.name in calibrated,
            profile.cores == host.cores,
        )

    profile = max(profiles, key=nearness)
    of_architecture, of_processor, own, of_cores = nearness(profile)
    if of_architecture and of_processor and (of_cores or own):
        why = _origin(profile, calibrated, "same processor")
        if not of_cores:
            why += f", on {profile.cores} cores; this process has {host.cores}"
        return Choice(profile=profile, same=of_cores, alike=True, why=why)
    measured_on = f"{profile.processor or profile.device_kind}, {profile.cores} cores"
    why = f"nearest of its platform: rates of {measured_on}; this is {host}"
    if not of_architecture:
        why += f" ({host.architecture})"
    return Choice(profile=profile, same=False, alike=of_architecture, why=why)


def _origin(profile: DeviceProfile, calibrated: Container[str], otherwise: str) -> str:
    if profile.name in calibrated:
        return f"calibrated on {profile.provenance.date}"
    return f"shipped, {otherwise}"


def _likeness(one: str, other: str) -> tuple[int, float]:
    """Says how alike two kinds are spelt: how long alike, then how much."""
    one, other = one.lower(), other.lower()
    matcher = difflib.SequenceMatcher(None, one, other)
    first = matcher.get_matching_blocks()[0]
    beginning = first.size if first.a == first.b == 0 else 0
    return beginning, matcher.ratio()
