import dataclasses

import numpy as np
import pytest

from ntkplan.cost.fit import fit_rate, log_error
from ntkplan.cost.formulas import operation_seconds
from ntkplan.cost.samples import Sample
from ntkplan.cost.work import Operation, OperationKind
from tests.cost import profiles

FREE = ("peak_flops_per_s", "half_efficiency_m", "read_bytes_per_s", "overhead_s")


def samples(profile, noise=0.0, count=60, off=0.0):
    generator = np.random.default_rng(0)
    for _ in range(count):
        m, n, k = (int(size) for size in np.exp(generator.uniform(0, 6, 3)))
        operation = Operation(
            kind=OperationKind.DOT,
            m=m,
            n=n,
            k=k,
            flops=2 * m * n * k,
            bytes_read=4 * (m * k + k * n),
            bytes_written_reused=4 * m * n,
        )
        exact = operation_seconds(operation, profile, dtype="float32", precision=None)
        factor = float(np.exp(noise * generator.standard_normal()))
        exact *= float(np.exp(off * np.sin(np.log(m))))
        call_s = profile.launch.call_overhead_s
        yield Sample(operation=operation, seconds=(call_s + exact) * factor)


def wrong_start(profile):
    return dataclasses.replace(
        profile.rates[0],
        peak_flops_per_s=2e8,
        half_efficiency_m=2.0,
        read_bytes_per_s=1e10,
        overhead_s=1e-5,
    )


def test_a_fit_finds_the_rates_that_made_the_samples():
    toy = profiles.toy()
    rate = fit_rate(wrong_start(toy), FREE, list(samples(toy)), toy)
    assert rate.peak_flops_per_s == pytest.approx(1e9, rel=0.05)
    assert rate.half_efficiency_m == pytest.approx(10, rel=0.1)
    assert rate.read_bytes_per_s == pytest.approx(1e9, rel=0.3)
    assert rate.fit is not None
    assert rate.fit.held_out_median_error_fraction < 0.02


def test_the_held_out_error_tells_of_noise():
    toy = profiles.toy()
    rate = fit_rate(wrong_start(toy), FREE, list(samples(toy, noise=0.3)), toy)
    assert rate.fit is not None
    assert 0.1 < rate.fit.held_out_median_error_fraction < 0.4
    assert len(rate.fit.samples) == 60
    assert rate.peak_flops_per_s == pytest.approx(1e9, rel=0.3)


def test_what_the_rates_do_not_explain_is_learnt_from_the_samples():
    toy = profiles.toy()
    launch = dataclasses.replace(toy.launch, call_overhead_s=1e-9)
    toy = dataclasses.replace(toy, launch=launch)
    measured = list(samples(toy, count=150, off=0.5))
    rate = fit_rate(wrong_start(toy), FREE, measured, toy)
    assert rate.fit is not None
    assert rate.fit.correction_reach > 0
    without = np.expm1(log_error(rate, measured, toy))
    assert without > 0.15
    assert rate.fit.held_out_median_error_fraction < 0.5 * without
    corrected = dataclasses.replace(toy, rates=(rate, *toy.rates[1:]))
    options = {"dtype": "float32", "precision": None}
    errors = [
        operation_seconds(sample.operation, corrected, **options) / sample.seconds - 1
        for sample in measured
    ]
    assert np.median(np.abs(errors)) < 0.05


def test_where_the_rates_explain_all_nothing_is_corrected():
    toy = profiles.toy()
    rate = fit_rate(wrong_start(toy), FREE, list(samples(toy, noise=0.2)), toy)
    assert rate.fit is not None
    assert rate.fit.correction_reach == 0


def test_a_few_samples_far_off_do_not_decide():
    toy = profiles.toy()
    measured = list(samples(toy))
    measured[::12] = [
        dataclasses.replace(sample, seconds=20 * sample.seconds)
        for sample in measured[::12]
    ]
    rate = fit_rate(wrong_start(toy), FREE, measured, toy)
    assert rate.peak_flops_per_s == pytest.approx(1e9, rel=0.2)


def test_few_samples_leave_what_they_do_not_tell_where_it_was():
    toy = profiles.toy()
    start = dataclasses.replace(toy.rates[0], half_efficiency_n=7.0)
    free = (*FREE, "half_efficiency_n", "transcendentals_per_s")
    rate = fit_rate(start, free, list(samples(toy))[:6], toy)
    assert rate.transcendentals_per_s == pytest.approx(1e8)
    assert rate.fit is not None
    assert len(rate.fit.samples) == 6
