"""What a profile's own samples say beyond its rates.

The rates of a class leave an error at every sample. Near a sample, operations are
expected to be off by about as much: the logarithm of the error is interpolated by
kriging (the mean of a Gaussian process) over the logarithms of sizes. Away from all
samples the correction fades to 1.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ntkplan.cost.roofline import PRODUCTS
from ntkplan.cost.work import Operation, OperationKind

_REDUCTIONS = (OperationKind.REDUCTION_MINOR, OperationKind.REDUCTION_MAJOR)
_APART = 3.0
"""How far apart, in natural logarithms of a size, two ways of running something are."""

_LEAST_PART = 0.3
"""Least part of the predicted time that a measurement is taken to be, the call off."""

REACHES = (0.7, 1.0, 1.5, 2.2, 3.3, 5.0)
NOISES = (0.1, 0.3, 1.0)


def place(counts: Any, kind: OperationKind) -> list[Any]:
    """Returns where an operation lies among others of its class.

    Args:
        counts: An `Operation` with numbers, or anything with its fields as arrays.
        kind: Its class.

    Returns:
        Coordinates in natural logarithms of sizes, numbers or arrays.
    """
    if kind in PRODUCTS:
        return [_log(size) for size in (counts.batch, counts.m, counts.n, counts.k)]
    repeats = counts.repeats
    written = counts.bytes_written_fresh + counts.bytes_written_reused
    found = [_log(counts.bytes_read / repeats + 1), _log(written / repeats + 1)]
    if kind in _REDUCTIONS:
        return [*found, _log(counts.n), _log(counts.k)]
    if kind is OperationKind.TRANSPOSE:
        return found[:1]
    different = (counts.transcendentals > 0) * _APART
    return [*found, _log(counts.flops / repeats + 1) / 2, different]


def _log(size: Any) -> Any:
    if isinstance(size, np.ndarray):
        return np.log(np.maximum(size, 1))
    return math.log(size) if size > 1 else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """The interpolation of one class's errors.

    Attributes:
        kind: The class.
        centre: Mean of the samples' places, `[d]`.
        reach: Length scale, in natural logarithms.
        noise: Variance of a sure sample's noise, in parts of the signal's.
        rows: For each sample its place, in reaches, and what completes the square,
            `[n_samples, d + 2]`.
        weights: Weight of each sample, `[n_samples]`.
    """

    kind: OperationKind
    centre: tuple[float, ...]
    reach: float
    noise: float
    rows: np.ndarray
    weights: np.ndarray

    def factor(self, operation: Operation) -> float:
        """Returns by what to multiply the time that the rates predict."""
        point: list[float] = []
        square = 0.0
        for value, middle in zip(place(operation, self.kind), self.centre, strict=True):
            value = (value - middle) / self.reach
            point.append(value)
            square += value * value
        point += (1.0, -0.5 * square)
        # An exponent is minus half of the squared distance between two places.
        near = np.exp(self.rows @ point)
        return math.exp(near @ self.weights)

    def factors(self, counts: Any) -> np.ndarray:
        """Returns the same for many operations, given as arrays `[n]`."""
        points = _scaled(place(counts, self.kind), self.centre, self.reach)
        squares = -0.5 * np.sum(points**2, axis=1)
        ones = np.ones_like(squares)
        augmented = np.column_stack([points, ones, squares])
        return np.exp(np.exp(augmented @ self.rows.T) @ self.weights)


def _scaled(
    coordinates: list[Any], centre: tuple[float, ...], reach: float
) -> np.ndarray:
    return (np.stack(np.broadcast_arrays(*coordinates), axis=1) - centre) / reach


def errors_of(
    seconds: np.ndarray, predicted: np.ndarray, call_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logarithms of what the rates leave unexplained, and how sure they are.

    Args:
        seconds: Measured, one call included, `[n_samples]`.
        predicted: By the rates, no call included, `[n_samples]`.
        call_s: What one call costs.

    Returns:
        The logarithms, and the variance of each in parts of that of a long program:
        of a short one little is left once the call is taken off.
    """
    left = np.maximum(seconds - call_s, _LEAST_PART * predicted)
    return np.log(left / predicted), (seconds / left) ** 2


def interpolate(
    kind: OperationKind,
    counts: Any,
    errors: np.ndarray,
    variances: np.ndarray,
    *,
    reach: float,
    noise: float,
) -> Correction:
    """Returns the interpolation of errors at samples.

    Args:
        kind: The class.
        counts: The samples' fields, as arrays `[n_samples]`.
        errors: Logarithms, `[n_samples]`.
        variances: Of each sample's noise, in parts of `noise`, `[n_samples]`.
        reach: Length scale.
        noise: Variance of a sure sample's noise, in parts of the signal's.
    """
    coordinates = np.stack(np.broadcast_arrays(*place(counts, kind)), axis=1)
    centre = tuple(float(value) for value in coordinates.mean(axis=0))
    points = (coordinates - centre) / reach
    squares = -0.5 * np.sum(points**2, axis=1)
    weights = np.linalg.solve(_alike(points) + np.diag(noise * variances), errors)
    return Correction(
        kind=kind,
        centre=centre,
        reach=reach,
        noise=noise,
        rows=np.column_stack([points, squares, np.ones_like(squares)]),
        weights=weights,
    )


def _alike(points: np.ndarray) -> np.ndarray:
    """Returns the correlation of every two points, `[n, n]`."""
    apart = points[:, None] - points[None]
    return np.exp(-0.5 * np.sum(apart**2, axis=2))


def best_reach(
    kind: OperationKind, counts: Any, errors: np.ndarray, variances: np.ndarray
) -> tuple[float, float]:
    """Returns the reach and the noise that predict every sample best from the others.

    Returns:
        The reach, or 0 where samples predict each other no better than rates alone;
        and the noise.
    """
    coordinates = np.stack(np.broadcast_arrays(*place(counts, kind)), axis=1)
    trust = 1 / np.sqrt(variances)

    def cost(left_over: np.ndarray) -> float:
        # A few samples far off must not decide.
        return float(np.mean(np.minimum(np.abs(left_over), 1.0) * trust))

    best, least = (0.0, 0.0), 0.98 * cost(errors)
    for reach in REACHES:
        alike = _alike(coordinates / reach)
        for noise in NOISES:
            inverse = np.linalg.inv(alike + np.diag(noise * variances))
            # The error of leaving one sample out, for all of them at once.
            left_out = inverse @ errors / np.diag(inverse)
            if (found := cost(left_out)) < least:
                best, least = (reach, noise), found
    return best
