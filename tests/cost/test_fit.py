import dataclasses

import numpy as np
import pytest

from ntkplan.cost.fit import Sample, fit_rate
from ntkplan.cost.formulas import operation_seconds
from ntkplan.cost.work import Operation, OperationKind
from tests.cost import profiles

FREE = ("peak_flops_per_s", "half_efficiency_m", "read_bytes_per_s", "overhead_s")


def samples(profile, noise=0.0):
    generator = np.random.default_rng(0)
    for _ in range(60):
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
