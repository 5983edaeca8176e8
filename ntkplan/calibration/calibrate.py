"""Measures a device: compiles programs, times them, fits a profile to the times."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import jax

from ntkplan.calibration import machine
from ntkplan.calibration.budget import Budget
from ntkplan.calibration.case import Case
from ntkplan.calibration.fitting import Class, fit_all
from ntkplan.calibration.launches import launch_programs, measured_launch
from ntkplan.calibration.programs import (
    Timed,
    affordable,
    compile_cases,
    interleave,
    noise,
)
from ntkplan.calibration.suite import suite
from ntkplan.cost.choice import Choice
from ntkplan.cost.device import choice_for
from ntkplan.cost.host import this_host
from ntkplan.cost.profile import (
    REQUIRED_KINDS,
    DeviceProfile,
    Launch,
    Memory,
    Origin,
    Platform,
    Provenance,
)
from ntkplan.cost.samples import Sample
from ntkplan.cost.work import Variant
from ntkplan.errors import NtkPlanWarning, TooLittleTimeError, UnknownDeviceError

NOISE_LIMIT_FRACTION = 0.35
"""With a 90th percentile above this, a measurement is no better than a guess."""

QUICK_BUDGET_S = 15.0
"""With no more than this, only float32 at default precision is measured."""

_LEAST_ROUNDS = 3
_MOST_ROUNDS = 40
_LOOP_SMALL_S = 2e-6


class Progress(Protocol):
    """Shows how far a calibration has come."""

    def phase(self, name: str, steps: int) -> None:
        """Begins a phase of so many steps."""
        ...

    def advance(self) -> None:
        """Ends a step."""
        ...


class Silent:
    """Shows nothing."""

    def phase(self, name: str, steps: int) -> None:
        """Begins a phase."""

    def advance(self) -> None:
        """Ends a step."""


def calibrate(
    device: Any = None,
    budget_s: float = 60,
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> DeviceProfile:
    """Measures a device that JAX runs on.

    Nothing is written: `profile.save(path)` does, and `ntkplan calibrate` puts the
    profile where it is used from then on.

    Args:
        device: The JAX device, or its platform; None is the device that JAX runs on.
        budget_s: Seconds that it may take. With 15 or fewer, only float32 at default
            precision is measured, with fewer programs. On a slow machine, programs are
            left out from the end of their list (`ntkplan.calibration.suite`).
        name: Name of the profile; None is that of the profile of the same device, or
            its kind.
        progress: Shows how far it has come.

    Returns:
        The profile. Where the times are too noisy to be relied on, a warning says so.

    Raises:
        CalibrationError: JAX runs on no such device.
        TooLittleTimeError: There was not enough time.
    """
    device = machine.find_device(device)
    budget = Budget(start_s=time.perf_counter(), total_s=budget_s)
    cases = suite(machine.platform_of(device), quick=budget_s <= QUICK_BUDGET_S)
    profile = measure(device, cases, budget, name=name, progress=progress or Silent())
    found = profile.provenance.noise_p90_fraction
    if found > NOISE_LIMIT_FRACTION:
        warnings.warn(
            f"{noise_text(profile)}: something else was running. Calibrate again when "
            "the machine is quiet, before you use this profile.",
            NtkPlanWarning,
            stacklevel=2,
        )
    return profile


def noise_text(profile: DeviceProfile) -> str:
    """Says how noisy a profile's times are."""
    source = profile.provenance
    return (
        f"noise p90 {source.noise_p90_fraction:.0%} "
        f"(median {source.noise_median_fraction:.0%}, limit {NOISE_LIMIT_FRACTION:.0%})"
    )


def measure(
    device: Any,
    cases: Sequence[Case],
    budget: Budget,
    *,
    name: str | None = None,
    progress: Progress,
) -> DeviceProfile:
    """Measures a device with given programs within a budget.

    Raises:
        TooLittleTimeError: There was not enough for the classes that every profile has.
    """
    known = _known(device)
    memory = machine.memory_of(device, known.profile if known else None)
    with jax.default_device(device):
        progress.phase("compiling", len(cases))
        launches = launch_programs()
        compiled = compile_cases(
            cases, device, budget, progress.advance, most_bytes=memory.usable_bytes / 2
        )
        kept = affordable([timed for _, timed in compiled], budget, _LEAST_ROUNDS)
        compiled = [(case, timed) for case, timed in compiled if timed in kept]
        programs = [*launches.values(), *kept]
        progress.phase("timing", _MOST_ROUNDS * len(programs))
        interleave(programs, _MOST_ROUNDS, budget, progress.advance)
    if min(len(program.rounds) for program in programs) < _LEAST_ROUNDS:
        raise _too_slow(device, budget, "too few rounds of timing")
    progress.phase("fitting", 1)
    launch, overhead_s = measured_launch(launches)
    profile = _without_rates(device, name, known, memory, launch, noise(programs))
    samples = _samples(compiled)
    rates = fit_all(samples, profile, overhead_s)
    for kind in REQUIRED_KINDS:
        plain = (kind, "float32", "default", Variant.PLAIN)
        if not any(rate.key == plain for rate in rates):
            raise _too_slow(device, budget, f"too few programs of {kind}")
    progress.advance()
    return dataclasses.replace(profile, rates=rates)


def _too_slow(device: Any, budget: Budget, what: str) -> TooLittleTimeError:
    return TooLittleTimeError(
        device=device.device_kind,
        why=f"{what} fitted into {budget.total_s:.0f} s",
        hint="Wait until nothing else runs on the machine, or give it more time with "
        "budget_s=, on the command line with --budget SECONDS in place of --quick",
    )


def _known(device: Any) -> Choice | None:
    try:
        return choice_for(device.platform, device.device_kind)
    except UnknownDeviceError:
        return None


def _samples(
    compiled: Sequence[tuple[Case, Timed]],
) -> dict[Class, list[Sample]]:
    found: dict[Class, list[Sample]] = {}
    for case, timed in compiled:
        done = case.operation
        key = (done.kind, case.dtype, case.precision, done.variant)
        sample = Sample(operation=done, seconds=timed.least)
        found.setdefault(key, []).append(sample)
    return found


def _without_rates(
    device: Any,
    name: str | None,
    known: Choice | None,
    memory: Memory,
    launch: Launch,
    spread: tuple[float, float],
) -> DeviceProfile:
    host = this_host()
    platform = machine.platform_of(device)
    cpu = platform is Platform.CPU
    if cpu:
        launch = dataclasses.replace(launch, loop_small_s=_LOOP_SMALL_S)
    else:
        # The body of a loop is no single piece there: an operation costs its launch.
        launch = dataclasses.replace(launch, loop_operation_s=0.0)
    return DeviceProfile(
        name=name or machine.profile_name(device, host, known),
        platform=platform,
        device_kind=device.device_kind,
        cores=machine.core_count(device, host, known),
        architecture=host.architecture if cpu else "",
        processor=host.processor if cpu else "",
        provenance=Provenance(
            origin=Origin.MEASURED,
            date=machine.today(),
            sources=("ntkplan calibrate", str(host) if cpu else device.device_kind),
            jax_version=jax.__version__,
            jaxlib_version=machine.version("jaxlib"),
            plugin_versions=machine.plugin_versions(),
            flags=machine.flags(),
            threads=host.cores if cpu else 0,
            noise_median_fraction=spread[0],
            noise_p90_fraction=spread[1],
            notes="One jitted program for each sample, its arguments warm; least time "
            "over interleaved rounds.",
        ),
        memory=memory,
        launch=launch,
        rates=(),
    )
