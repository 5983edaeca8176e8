"""Options that depend on the device: which it is, its memory and its precision."""

from __future__ import annotations

import os
from typing import Any

import jax

from ntkplan.calibration.machine import memory_of
from ntkplan.cost.device import load_profile, profile_for
from ntkplan.cost.profile import DeviceProfile, Platform
from ntkplan.errors import ArgumentTypeError
from ntkplan.options import parse_bytes, parse_precision

Device = str | os.PathLike[str] | DeviceProfile | jax.Device | None


def profile_of(device: Device) -> DeviceProfile:
    """Returns the profile of a device.

    Args:
        device: A profile, its name or file, a device, or None for where JAX runs.

    Raises:
        ArgumentTypeError: It is something else.
    """
    if isinstance(device, str | os.PathLike | DeviceProfile):
        return load_profile(device)
    if device is not None and not isinstance(device, jax.Device):
        raise ArgumentTypeError(
            name="device",
            value=device,
            wanted="the name of a device profile, its file, a profile or a jax.Device",
            hint="`ntkplan devices` lists the profiles",
        )
    running = jax.devices()[0] if device is None else device
    return profile_for(running.platform, running.device_kind)


def memory_limit_bytes(
    limit: int | float | str | None, device: Device, profile: DeviceProfile
) -> float:
    """Reads the limit, or takes what the device has, less the profile's margin.

    Args:
        limit: Bytes, or text such as `8GiB`; None for what there is.
        device: What was asked for, as for `profile_of`.
        profile: Its profile.
    """
    if limit is not None:
        return parse_bytes(limit)
    memory = profile.memory
    if device is None or isinstance(device, jax.Device):
        # Its profile may be of a machine with more memory, or of the nearest device.
        memory = memory_of(device or jax.devices()[0], profile)
    return memory.usable_bytes * (1 - profile.memory.scratch_margin_fraction)


def precision_on(profile: DeviceProfile, precision: Any) -> str | None:
    """Is exact by default: small eigenvalues do not survive fast matrix units.

    Args:
        profile: The device's profile.
        precision: What was asked for, or None.

    Returns:
        The name of a precision, or None for what a CPU does by itself.
    """
    parsed = parse_precision(precision)
    if parsed is None and profile.platform is not Platform.CPU:
        return "highest"
    return parsed
