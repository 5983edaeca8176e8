import math

import numpy as np
import pytest

from ntkplan.cost.correction import best_reach, errors_of, interpolate
from ntkplan.cost.samples import Columns
from ntkplan.cost.work import Operation, OperationKind


def dot(m, n=64, k=64):
    return Operation(kind=OperationKind.DOT, m=m, n=n, k=k)


def columns(count, seed=0):
    generator = np.random.default_rng(seed)
    return Columns.of(
        [dot(*np.exp(generator.uniform(0, 7, 3)).round()) for _ in range(count)]
    )


def smooth(many):
    """A function of the sizes that an interpolation can learn."""
    return 0.5 * np.sin(np.log(many.m)) + 0.1 * np.log(many.k)


def made(count, errors=None, **options):
    many = columns(count)
    errors = smooth(many) if errors is None else errors
    options = {"reach": 1.5, "noise": 0.01, **options}
    return interpolate(OperationKind.DOT, many, errors, np.ones(len(many)), **options)


def test_samples_are_corrected_and_so_is_what_lies_between_them():
    correction = made(300)
    seen, unseen = columns(300), columns(50, seed=1)
    assert np.log(correction.factors(seen)) == pytest.approx(smooth(seen), abs=0.1)
    error = np.abs(np.log(correction.factors(unseen)) - smooth(unseen))
    assert np.median(error) < 0.1


def test_far_from_all_samples_nothing_is_corrected():
    correction = made(100)
    assert correction.factor(dot(10**9, 10**9, 10**9)) == pytest.approx(1, abs=1e-6)


def test_one_operation_is_corrected_like_many():
    correction = made(40)
    operations = [dot(1), dot(10, 3, 500), dot(4000, 1, 1)]
    many = correction.factors(Columns.of(operations))
    assert [correction.factor(item) for item in operations] == pytest.approx(many)


def test_the_correction_is_smooth():
    correction = made(60)
    factors = [correction.factor(dot(m)) for m in range(100, 200)]
    steps = np.abs(np.diff(np.log(factors)))
    assert max(steps) < 0.05


def test_unsure_samples_count_less():
    many = columns(1)
    options = {"reach": 1.0, "noise": 0.1}
    one = np.array([0.7])

    def at_sample(variance):
        correction = interpolate(
            OperationKind.DOT, many, one, np.array([variance]), **options
        )
        return float(np.log(correction.factors(many))[0])

    assert at_sample(1.0) == pytest.approx(0.7 / 1.1)
    assert at_sample(100.0) == pytest.approx(0.7 / 11)


def test_a_short_program_tells_little_once_the_call_is_taken_off():
    seconds, predicted = np.array([1.0, 1e-5]), np.array([0.5, 1e-6])
    errors, variances = errors_of(seconds, predicted, call_s=1e-5)
    assert errors[0] == pytest.approx(math.log(2), rel=1e-4)
    assert variances[0] == pytest.approx(1, rel=1e-3)
    assert variances[1] > 100
    assert np.isfinite(errors).all()


def test_what_samples_do_not_share_is_not_interpolated():
    many = columns(80)
    noise = np.random.default_rng(3).standard_normal(80)
    sure = np.ones(80)
    assert best_reach(OperationKind.DOT, many, smooth(many), sure)[0] > 0
    assert best_reach(OperationKind.DOT, many, noise, sure) == (0.0, 0.0)
