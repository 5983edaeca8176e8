"""Fits the rates of one class of operations to measured times."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntkplan.cost.formulas import operation_seconds
from ntkplan.cost.profile import SAMPLE_COLUMNS, DeviceProfile, Fit, Rate
from ntkplan.cost.work import Operation

FOLDS = 5
_STEPS = 40
_PRIOR_WEIGHT = 0.1
"""How strongly a rate that no sample determines stays where it started."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One program that was timed.

    Attributes:
        operation: What it does.
        seconds: The least time over the rounds, one call of the program included.
    """

    operation: Operation
    seconds: float


def fit_rate(
    start: Rate,
    free: Sequence[str],
    samples: Sequence[Sample],
    profile: DeviceProfile,
) -> Rate:
    """Fits some fields of a rate, and reports how well the rest is predicted.

    The fit minimises the squares of log(predicted / measured) by Levenberg and
    Marquardt's method in the logarithms of the fields. Its error is told twice: on the
    samples themselves, and on each fifth of them by a fit to the other four.

    Args:
        start: Where to start, and what is not free.
        free: Names of the fields to fit; all of them positive in `start`.
        samples: What was measured.
        profile: Gives the platform, memory and launch figures.

    Returns:
        The fitted rate, with its `fit`.
    """
    fitted = _fit(start, free, samples, profile)
    own = _errors(fitted, samples, profile)
    held_out: list[float] = []
    for fold in range(FOLDS):
        left_out = list(samples[fold::FOLDS])
        rest = [item for index, item in enumerate(samples) if index % FOLDS != fold]
        if left_out and len(rest) > len(free):
            held_out += _errors(_fit(start, free, rest, profile), left_out, profile)
    return dataclasses.replace(
        fitted,
        fit=Fit(
            median_error_fraction=_rounded(np.median(own)),
            held_out_median_error_fraction=_rounded(np.median(held_out or own)),
            held_out_p90_error_fraction=_rounded(np.quantile(held_out or own, 0.9)),
            samples=tuple(_row(sample) for sample in samples),
        ),
    )


def log_error(rate: Rate, samples: Sequence[Sample], profile: DeviceProfile) -> float:
    """Returns the root mean square of log(predicted / measured)."""
    residuals = _residuals(rate, samples, profile)
    return float(np.sqrt(np.mean(residuals**2)))


def _residuals(
    rate: Rate, samples: Sequence[Sample], profile: DeviceProfile
) -> np.ndarray:
    trial = dataclasses.replace(profile, rates=(rate,))
    call_s = profile.launch.call_overhead_s
    predicted = [
        call_s
        + operation_seconds(
            sample.operation, trial, dtype=rate.dtype, precision=rate.precision
        )
        for sample in samples
    ]
    return np.log(predicted) - np.log([sample.seconds for sample in samples])


def _errors(
    rate: Rate, samples: Sequence[Sample], profile: DeviceProfile
) -> list[float]:
    return list(np.abs(np.expm1(_residuals(rate, samples, profile))))


def _with(rate: Rate, free: Sequence[str], logs: np.ndarray) -> Rate:
    values = {
        name: float(value) for name, value in zip(free, np.exp(logs), strict=True)
    }
    return dataclasses.replace(rate, **values)


def _fit(
    start: Rate,
    free: Sequence[str],
    samples: Sequence[Sample],
    profile: DeviceProfile,
) -> Rate:
    """Runs Levenberg and Marquardt's method from one start."""
    origin = np.log([getattr(start, name) for name in free])

    def residuals(logs: np.ndarray) -> np.ndarray:
        fitted = _residuals(_with(start, free, logs), samples, profile)
        return np.concatenate([fitted, _PRIOR_WEIGHT * (logs - origin)])

    logs, damping = origin.copy(), 1.0
    current = residuals(logs)
    for _ in range(_STEPS):
        slopes = np.stack(
            [
                (residuals(logs + step) - current) / 1e-4
                for step in np.eye(len(logs)) * 1e-4
            ],
            axis=1,
        )
        normal = slopes.T @ slopes
        move = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal)), -slopes.T @ current
        )
        trial = logs + np.clip(move, -2, 2)
        moved = residuals(trial)
        if moved @ moved < current @ current:
            gain = 1 - (moved @ moved) / (current @ current)
            logs, current, damping = trial, moved, damping / 4
            if gain < 1e-5:
                break
        else:
            damping *= 4
            if damping > 1e8:
                break
    rounded = {
        name: _rounded(np.exp(log)) for name, log in zip(free, logs, strict=True)
    }
    return dataclasses.replace(start, **rounded)


def _rounded(value: float) -> float:
    """Keeps four digits: more would pretend to be known."""
    return float(f"{float(value):.4g}")


def _row(sample: Sample) -> tuple[float, ...]:
    fields = {**sample.operation.__dict__, "seconds": _rounded(sample.seconds)}
    return tuple(float(fields[name]) for name in SAMPLE_COLUMNS)
