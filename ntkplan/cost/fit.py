"""Fits the rates of one class of operations to measured times."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ntkplan.cost.correction import (
    Correction,
    best_reach,
    errors_of,
    interpolate,
)
from ntkplan.cost.formulas import predicted_seconds
from ntkplan.cost.profile import DeviceProfile, Fit, Rate
from ntkplan.cost.samples import Columns, Sample, row

FOLDS = 5
_STEPS = 50
_SLOPE = 1e-5
_PRIOR_WEIGHT = 0.15
"""How strongly a rate that no sample determines stays where it started."""

_LARGE = 0.3
"""Logarithms of errors above this count in proportion, not squared."""

_AT_LEAST_ONE = ("cache_speedup",)


def fit_rate(
    start: Rate,
    free: Sequence[str],
    samples: Sequence[Sample],
    profile: DeviceProfile,
) -> Rate:
    """Fits some fields of a rate, and reports how well the rest is predicted.

    The fit minimises log(predicted / measured) by Levenberg and Marquardt's method in
    the logarithms of the fields, large errors less than squared. What is left over
    gives a correction (`ntkplan.cost.correction`), where that helps. The error is told
    twice: on the samples themselves, and on each fifth of them by a fit to the other
    four, correction included.

    Args:
        start: Where to start, and what is not free.
        free: Names of the fields to fit; all of them positive in `start`.
        samples: What was measured.
        profile: Gives the platform, memory and launch figures.

    Returns:
        The fitted rate, with its `fit`.
    """
    rows = tuple(row(sample.operation, _rounded(sample.seconds)) for sample in samples)
    columns = Columns.of_rows(rows)
    fitted, corrected = _fit(start, free, columns, profile)
    own = _errors(fitted, corrected, columns, profile)
    held_out: list[float] = []
    folds = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    for fold in range(FOLDS):
        rest = columns.at(folds != fold)
        if 0 < len(rest) < len(rows):
            held_out += _errors(
                *_fit(fitted, free, rest, profile), columns.at(folds == fold), profile
            )
    return dataclasses.replace(
        fitted,
        fit=Fit(
            median_error_fraction=_rounded(np.median(own)),
            held_out_median_error_fraction=_rounded(np.median(held_out or own)),
            held_out_p90_error_fraction=_rounded(np.quantile(held_out or own, 0.9)),
            samples=rows,
            correction_reach=0.0 if corrected is None else corrected.reach,
            correction_noise=0.0 if corrected is None else corrected.noise,
        ),
    )


def log_error(rate: Rate, samples: Sequence[Sample], profile: DeviceProfile) -> float:
    """Returns the mean of |log(predicted / measured)|, by the rates alone."""
    columns = Columns.of([sample.operation for sample in samples])
    measured = np.array([sample.seconds for sample in samples])
    predicted = profile.launch.call_overhead_s + predicted_seconds(
        columns, profile, rate
    )
    return float(np.mean(np.abs(np.log(predicted / measured))))


def _errors(
    rate: Rate,
    corrected: Correction | None,
    columns: Columns,
    profile: DeviceProfile,
) -> list[float]:
    predicted = profile.launch.call_overhead_s + predicted_seconds(
        columns, profile, rate, corrected
    )
    return list(np.abs(predicted / columns.seconds - 1))


def _fit(
    start: Rate, free: Sequence[str], columns: Columns, profile: DeviceProfile
) -> tuple[Rate, Correction | None]:
    """Fits the rates, and then the correction to what they leave."""
    fitted = _fit_fields(start, free, columns, profile)
    errors, variances = errors_of(
        columns.seconds,
        predicted_seconds(columns, profile, fitted),
        profile.launch.call_overhead_s,
    )
    reach, noise = best_reach(fitted.kind, columns, errors, variances)
    if not reach:
        return fitted, None
    return fitted, interpolate(
        fitted.kind, columns, errors, variances, reach=reach, noise=noise
    )


def _fit_fields(
    start: Rate, free: Sequence[str], columns: Columns, profile: DeviceProfile
) -> Rate:
    """Runs Levenberg and Marquardt's method from one start."""
    origin = np.log([getattr(start, name) for name in free])
    measured = np.log(columns.seconds)

    def residuals(logs: np.ndarray) -> np.ndarray:
        rate = dataclasses.replace(start, **_fields(free, logs))
        times = predicted_seconds(columns, profile, rate)
        errors = np.log(profile.launch.call_overhead_s + times) - measured
        # The square of this grows in proportion to a large error.
        robust = np.sqrt(2 * (np.sqrt(1 + (errors / _LARGE) ** 2) - 1)) * _LARGE
        return np.concatenate(
            [np.sign(errors) * robust, _PRIOR_WEIGHT * (logs - origin)]
        )

    logs, damping = origin.copy(), 1.0
    current = residuals(logs)
    for _ in range(_STEPS):
        slopes = np.stack(
            [
                (residuals(logs + step) - current) / _SLOPE
                for step in np.eye(len(logs)) * _SLOPE
            ],
            axis=1,
        )
        normal = slopes.T @ slopes
        move = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal)), -slopes.T @ current
        )
        trial = logs + np.clip(move, -1, 1)
        moved = residuals(trial)
        if moved @ moved < current @ current:
            gain = 1 - (moved @ moved) / (current @ current)
            logs, current, damping = trial, moved, damping / 4
            if gain < 1e-4:
                break
        else:
            damping *= 4
            if damping > 1e8:
                break
    return dataclasses.replace(
        start, **{name: _rounded(value) for name, value in _fields(free, logs).items()}
    )


def _fields(free: Sequence[str], logs: np.ndarray) -> dict[str, float]:
    found = {}
    for name, value in zip(free, np.exp(logs), strict=True):
        found[name] = max(1.0, float(value)) if name in _AT_LEAST_ONE else float(value)
    return found


def _rounded(value: float) -> float:
    """Keeps four digits: more would pretend to be known."""
    return float(f"{float(value):.4g}")
