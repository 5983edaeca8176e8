"""Fits a datasheet's profile to what a compiler says of whole contractions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize

from benchmarks.targets.programs import PRECISION
from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile, Rate
from ntkplan.cost.work import OperationKind, Work

_HALVES = ("half_efficiency_m", "half_efficiency_n", "half_efficiency_k")
_BYTES = ("read_bytes_per_s", "written_bytes_per_s")
_FREE: Mapping[OperationKind, tuple[str, ...]] = {
    OperationKind.DOT: (*_HALVES, *_BYTES, "overhead_s"),
    OperationKind.BATCHED_DOT: ("peak_flops_per_s", *_HALVES, *_BYTES, "overhead_s"),
    OperationKind.ELEMENTWISE: (*_BYTES, "overhead_s"),
    OperationKind.REDUCTION_MINOR: (*_BYTES, "overhead_s"),
    OperationKind.REDUCTION_MAJOR: (*_BYTES, "overhead_s"),
    OperationKind.TRANSPOSE: (*_BYTES, "overhead_s"),
    OperationKind.GATHER: (*_BYTES, "overhead_s"),
}
"""What no datasheet tells; peaks of products stay the datasheet's."""

_PRIOR = 0.15
"""How strongly a figure that no program determines stays where it was."""
_REGRET = 2.0
_MOST_OF_BANDWIDTH = 1.4
"""Transposes and gathers start below the bandwidth, and may come up to it."""
_EVALUATIONS = 12
_TIE = 0.1
"""Differences of predictions, in logarithms, that do not decide safely."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One contraction order that was compiled.

    Attributes:
        shape: Name of the layer.
        work: What it does.
        estimated_s: What the compiler expects.
    """

    shape: str
    work: Work
    estimated_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """What a fit found.

    Attributes:
        factors: By class and field, how many times the datasheet's figure.
        median_error_fraction: Median of |predicted - estimated| / estimated.
        held_out_median_error_fraction: The same, of layers that nothing is fitted to.
        held_out_p90_error_fraction: 90th percentile of these.
        held_out_mean_regret_fraction: Mean regret over these layers.
    """

    factors: Mapping[str, Mapping[str, float]]
    median_error_fraction: float
    held_out_median_error_fraction: float
    held_out_p90_error_fraction: float
    held_out_mean_regret_fraction: float


Factors = Mapping[str, Mapping[str, float]]


def fit(
    sheet: DeviceProfile,
    first: Factors,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
) -> Learned:
    """Fits factors to samples, and judges them by other layers.

    What is minimised is the squares of log(predicted / estimated), and the regret that
    a choice between nearly equal predictions would have on average.

    Args:
        sheet: The datasheet's profile.
        first: Factors to start from; 1 where there is none.
        samples: What was compiled of the layers to fit to.
        held_out: What was compiled of others.
    """
    found = _fit(sheet, first, samples)
    fitted = scaled(sheet, found)
    own_errors = np.abs(_predictions(fitted, samples) / _estimates(samples) - 1)
    errors: list[float] = []
    regrets: list[float] = []
    for name in dict.fromkeys(sample.shape for sample in held_out):
        own = [sample for sample in held_out if sample.shape == name]
        predicted, estimated = _predictions(fitted, own), _estimates(own)
        errors += list(np.abs(predicted / estimated - 1))
        regrets.append(float(estimated[predicted.argmin()] / estimated.min() - 1))
    return Learned(
        factors=found,
        median_error_fraction=_digits(np.median(own_errors)),
        held_out_median_error_fraction=_digits(np.median(errors)),
        held_out_p90_error_fraction=_digits(np.quantile(errors, 0.9)),
        held_out_mean_regret_fraction=_digits(float(np.mean(regrets))),
    )


def scaled(
    profile: DeviceProfile, factors: Mapping[str, Mapping[str, float]]
) -> DeviceProfile:
    """Multiplies the figures of a profile by what was learned.

    Factors of a class apply to all of its data types and precisions; convolutions get
    those of dots, and kernel gradients, which are many small products, those of
    batched dots.
    """
    rates = tuple(_scaled_rate(rate, factors) for rate in profile.rates)
    return dataclasses.replace(profile, rates=rates)


_AS: Mapping[OperationKind, OperationKind] = {
    OperationKind.CONVOLUTION: OperationKind.DOT,
    OperationKind.CONVOLUTION_KERNEL_GRADIENT: OperationKind.BATCHED_DOT,
}


def _scaled_rate(rate: Rate, factors: Mapping[str, Mapping[str, float]]) -> Rate:
    own = factors.get(_AS.get(rate.kind, rate.kind), {})
    values: dict[str, float] = {}
    for field, factor in own.items():
        fields = (field,)
        if field == "written_bytes_per_s":
            fields = ("write_bytes_per_s", "fresh_write_bytes_per_s")
        for name in fields:
            values[name] = _digits(getattr(rate, name) * factor)
    return dataclasses.replace(rate, **values)


def _factors(logs: np.ndarray) -> dict[str, dict[str, float]]:
    values = iter(np.exp(logs))
    return {
        str(kind): {field: _digits(next(values)) for field in fields}
        for kind, fields in _FREE.items()
    }


def _fit(
    start: DeviceProfile, first: Factors, samples: Sequence[Sample]
) -> dict[str, dict[str, float]]:
    origin = np.log(
        [
            first.get(str(kind), {}).get(field, 1.0)
            for kind, fields in _FREE.items()
            for field in fields
        ]
    )
    estimated = np.log(_estimates(samples))
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.shape, []).append(index)
    # A layer counts once, and most of all by the orders that are nearly its best.
    weights = np.empty(len(samples))
    for group in groups.values():
        closeness = np.exp((estimated[group].min() - estimated[group]) / 2)
        weights[group] = np.sqrt(closeness / closeness.sum())

    def residuals(point: np.ndarray) -> np.ndarray:
        logs = point + origin - 1
        trial = scaled(start, _factors(logs))
        errors = np.log(_predictions(trial, samples)) - estimated
        regrets = [
            _soft_regret(errors[group] + estimated[group], estimated[group])
            for group in groups.values()
        ]
        return np.concatenate(
            [
                np.sqrt(2 * (np.sqrt(1 + errors**2) - 1)) * np.sign(errors) * weights,
                _REGRET * np.sqrt(regrets),
                _PRIOR * (point - 1),
            ]
        )

    most = [
        np.log(_MOST_OF_BANDWIDTH) if field in _BYTES else np.inf
        for fields in _FREE.values()
        for field in fields
    ]
    solution = optimize.least_squares(
        residuals,
        np.ones(len(origin)),
        bounds=(-np.inf, 1 - origin + most),
        diff_step=1e-2,
        max_nfev=_EVALUATIONS,
    )
    return _factors(solution.x + origin - 1)


def _soft_regret(predicted: np.ndarray, estimated: np.ndarray) -> float:
    """Returns the regret on average if predictions this close are a toss-up.

    Args:
        predicted: Logarithms of seconds.
        estimated: Likewise.
    """
    chances = np.exp(-(predicted - predicted.min()) / _TIE)
    regret = estimated - estimated.min()
    return float(chances @ regret / chances.sum()) + 1e-9


def _predictions(profile: DeviceProfile, samples: Sequence[Sample]) -> np.ndarray:
    return np.asarray(
        [
            seconds(sample.work, profile, dtype="float32", precision=PRECISION)
            for sample in samples
        ]
    )


def _estimates(samples: Sequence[Sample]) -> np.ndarray:
    return np.asarray([sample.estimated_s for sample in samples])


def _digits(value: float) -> float:
    """Keeps four digits: more would pretend to be known."""
    return float(f"{float(value):.4g}")
