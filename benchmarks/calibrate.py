"""Measures this machine and writes its device profile.

Run `python -m benchmarks.calibrate --out cost_models/x86_64_cpu.toml`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import environment
from benchmarks.calibration_cases import Case, all_cases
from ntkplan.cost.device import save_profile
from ntkplan.cost.fit import Sample, fit_rate, log_error
from ntkplan.cost.profile import (
    DeviceProfile,
    Launch,
    Memory,
    Origin,
    Platform,
    Provenance,
    Rate,
)
from ntkplan.cost.work import OperationKind
from ntkplan.rules.equation_work import count_push, count_sweep
from ntkplan.trace.jaxpr import flatten

_DTYPES = {"float32": 4, "float64": 8}
_MATRIX = ("half_efficiency_m", "half_efficiency_n", "half_efficiency_k")
_MEMORY = ("read_bytes_per_s", "write_bytes_per_s", "overhead_s")
_FREE: dict[OperationKind, tuple[str, ...]] = {
    OperationKind.DOT: ("peak_flops_per_s", *_MATRIX, *_MEMORY),
    OperationKind.BATCHED_DOT: ("peak_flops_per_s", *_MATRIX, *_MEMORY),
    OperationKind.CONVOLUTION: ("peak_flops_per_s", *_MATRIX, *_MEMORY),
    OperationKind.CONVOLUTION_KERNEL_GRADIENT: (
        "peak_flops_per_s",
        *_MATRIX,
        *_MEMORY,
    ),
    OperationKind.ELEMENTWISE: (
        *_MEMORY,
        "fresh_write_bytes_per_s",
        "transcendentals_per_s",
    ),
    OperationKind.REDUCTION_MINOR: ("half_efficiency_k", *_MEMORY),
    OperationKind.REDUCTION_MAJOR: (
        "half_efficiency_n",
        "half_efficiency_k",
        "far_read_bytes_per_s",
        *_MEMORY,
    ),
    OperationKind.TRANSPOSE: _MEMORY,
    OperationKind.GATHER: _MEMORY,
}
_FAR_STRIDES = (2**14, 2**15, 2**16, 2**17, 2**18, 2**19)
_PARALLEL = tuple(
    itertools.product((2e-6, 5e-6, 1e-5, 2e-5), (5e-6, 1.5e-5, 3e-5, 6e-5))
)
_FRESH_BUFFER_BYTES = 32 * 2**20
"""The most that glibc keeps for reuse (M_MMAP_THRESHOLD's upper bound)."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Timed:
    """A compiled program and the times of its rounds, in seconds."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    rounds: list[float] = dataclasses.field(default_factory=list)

    def once(self) -> float:
        """Runs it once."""
        start = time.perf_counter()
        jax.block_until_ready(self.function(*self.arguments))
        return time.perf_counter() - start

    def round(self) -> None:
        """Runs it for at most 2 ms, at least once, and keeps the least time."""
        best, spent, calls = np.inf, 0.0, 0
        while calls < 1 or (spent < 2e-3 and calls < 8):
            took = self.once()
            best, spent, calls = min(best, took), spent + took, calls + 1
        self.rounds.append(best)

    @property
    def least(self) -> float:
        """The least time of all rounds."""
        return min(self.rounds)


def interleave(programs: Sequence[Timed], rounds: int, deadline: float) -> None:
    """Runs all programs round by round, each round in another order.

    Stops after a round once `time.perf_counter()` has passed the deadline.
    """
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for index in generator.permutation(len(programs)):
            programs[index].round()
        if time.perf_counter() > deadline:
            return


def compiled(case: Case, dtype: str, arrays: dict[Any, Any]) -> Timed:
    """Compiles a case on random arguments, and runs it once."""
    arguments: list[Any] = []
    for position, shape in enumerate(case.shapes):
        key = (dtype, position, shape)
        if key not in arrays:
            arrays[key] = _argument(shape, dtype)
        arguments.append(arrays[key])
    function = jax.jit(case.function)
    jax.block_until_ready(function(*arguments))
    return Timed(function=function, arguments=tuple(arguments))


def _argument(shape: tuple[Any, ...], dtype: str) -> Any:
    generator = np.random.default_rng(sum(map(hash, map(str, shape))) % 2**32)
    if shape and shape[0] == "index":
        return jnp.asarray(generator.integers(0, shape[1], shape[2:], dtype=np.int32))
    return jnp.asarray(generator.random(shape, dtype=np.float32).astype(dtype) - 0.5)


def launch_programs() -> dict[str, Timed]:
    """Returns programs that tell what a call and an iteration of a loop cost."""
    found: dict[str, Timed] = {}
    start, weight = jnp.ones((1, 8)), jnp.eye(8)
    found["call"] = Timed(function=jax.jit(lambda x: x + 1), arguments=(start,))
    for trips in (100, 2100):

        def loop(x: Any, trips: int = trips) -> Any:
            def step(carry: Any, _: None) -> tuple[Any, None]:
                return jnp.tanh(carry @ weight), None

            return lax.scan(step, x, None, length=trips)[0]

        found[f"loop{trips}"] = Timed(function=jax.jit(loop), arguments=(start,))
    found["columns"] = _columns_program()
    for program in found.values():
        program.once()
    return found


_COLUMNS = 400
_COLUMN_WIDTH = 16
_COLUMN_DEPTH = 6


def _network(weights: list[Any], x: Any) -> Any:
    """A perceptron so narrow that launching its operations is all it costs."""
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


def _network_arguments() -> tuple[list[Any], Any]:
    weight = 0.1 * jnp.ones((_COLUMN_WIDTH, _COLUMN_WIDTH))
    return [weight] * _COLUMN_DEPTH, jnp.ones((1, _COLUMN_WIDTH))


def _columns_program() -> Timed:
    """Returns a loop of pull-backs and push-forwards, as NTK-vector products do it."""
    weights, x = _network_arguments()

    def columns(weights: list[Any], rows: Any) -> Any:
        _, pull_back = jax.vjp(lambda weights: _network(weights, x), weights)
        _, push = jax.linearize(lambda weights: _network(weights, x), weights)
        return lax.map(lambda row: push(*pull_back(row)), rows)

    rows = jnp.ones((_COLUMNS, 1, _COLUMN_WIDTH))
    return Timed(function=jax.jit(columns), arguments=(weights, rows))


def _column_launches() -> float:
    """Counts the operations of one iteration as the planner counts them."""
    body = flatten(jax.make_jaxpr(_network)(*_network_arguments()))
    active = {variable for each in body.equations for variable in each.outputs}
    active.update(body.inputs[:-1])
    pulled = count_sweep(body.equations, active).at(n=1)
    pushed = count_push(body.equations, active).at(n=1)
    return float(pulled.launches) + float(pushed.launches)


def measure_launch(programs: dict[str, Timed]) -> Launch:
    """Returns what a call and an iteration cost, nothing yet about splitting."""
    per_loop = (programs["loop2100"].least - programs["loop100"].least) / 2000
    per_operation = programs["columns"].least / _COLUMNS / _column_launches()
    return Launch(
        call_overhead_s=float(f"{programs['call'].least:.3g}"),
        loop_overhead_s=float(f"{max(per_loop, 1e-9):.3g}"),
        loop_operation_s=float(f"{per_operation:.3g}"),
    )


def start_rate(kind: OperationKind, dtype: str) -> Rate:
    """Returns where a fit starts: a middling CPU."""
    slower = _DTYPES[dtype] / 4
    matrix = kind in (
        OperationKind.DOT,
        OperationKind.BATCHED_DOT,
        OperationKind.CONVOLUTION,
        OperationKind.CONVOLUTION_KERNEL_GRADIENT,
    )
    return Rate(
        kind=kind,
        dtype=dtype,
        precision="default",
        peak_flops_per_s=(3e11 if matrix else 2e11) / slower,
        read_bytes_per_s=4e10,
        write_bytes_per_s=3e10,
        fresh_write_bytes_per_s=4e9,
        transcendentals_per_s=5e9 / slower,
        overhead_s=1e-6,
        half_efficiency_m=8.0 if matrix else 0.0,
        half_efficiency_n=8.0 if matrix else 0.0,
        half_efficiency_k=8.0 if matrix else 0.0,
    )


def fit_kind(
    kind: OperationKind,
    dtype: str,
    samples: Sequence[Sample],
    profile: DeviceProfile,
    fresh_write_bytes_per_s: float | None = None,
) -> Rate:
    """Fits one class, over the candidates of what is not a smooth quantity."""
    start = start_rate(kind, dtype)
    if fresh_write_bytes_per_s is not None:
        start = dataclasses.replace(
            start, fresh_write_bytes_per_s=fresh_write_bytes_per_s
        )
    if kind is OperationKind.REDUCTION_MINOR:
        start = dataclasses.replace(start, half_efficiency_k=16.0)
    if kind is not OperationKind.REDUCTION_MAJOR:
        return fit_rate(start, _FREE[kind], samples, profile)
    start = dataclasses.replace(
        start, half_efficiency_n=8.0, half_efficiency_k=2.0, far_read_bytes_per_s=2e9
    )
    fits = [
        fit_rate(
            dataclasses.replace(start, far_stride_bytes=stride),
            _FREE[kind],
            samples,
            profile,
        )
        for stride in _FAR_STRIDES
    ]
    return min(fits, key=lambda rate: log_error(rate, samples, profile))


def fit_parallel(
    samples: dict[tuple[OperationKind, str], list[Sample]], profile: DeviceProfile
) -> Launch:
    """Finds from which size on operations are split among cores, and the cost."""
    best, least = profile.launch, np.inf
    kinds = (
        OperationKind.ELEMENTWISE,
        OperationKind.REDUCTION_MINOR,
        OperationKind.DOT,
    )
    for parallel_min_s, parallel_overhead_s in ((0.0, 0.0), *_PARALLEL):
        launch = dataclasses.replace(
            profile.launch,
            parallel_min_s=parallel_min_s,
            parallel_overhead_s=parallel_overhead_s,
        )
        trial = dataclasses.replace(profile, launch=launch)
        error = 0.0
        for kind in kinds:
            given = samples[kind, "float32"]
            rate = fit_kind(kind, "float32", given, trial)
            error += log_error(rate, given, trial)
        if error < least:
            best, least = launch, error
    return best


def noise(programs: Sequence[Timed]) -> tuple[float, float]:
    """Returns median and 90th percentile of (median - least) / least of the rounds."""
    spread = [
        (float(np.median(program.rounds)) - program.least) / program.least
        for program in programs
    ]
    return round(float(np.median(spread)), 4), round(float(np.quantile(spread, 0.9)), 4)


def calibrate(name: str, rounds: int, budget_s: float) -> DeviceProfile:
    """Measures and fits.

    Args:
        name: Name of the profile.
        rounds: Most rounds of timing.
        budget_s: Seconds of timing after which no further round is started.

    Returns:
        The profile.
    """
    arrays: dict[Any, Any] = {}
    timed: dict[str, list[tuple[Case, Timed]]] = {}
    for dtype, itemsize in _DTYPES.items():
        # Wider numbers behave alike, only slower; half the programs tell how much.
        cases = all_cases(itemsize)[:: itemsize // 4]
        timed[dtype] = [(case, compiled(case, dtype, arrays)) for case in cases]
        print(f"compiled {len(timed[dtype])} programs in {dtype}", flush=True)
    launches = launch_programs()
    programs = [item for cases in timed.values() for _, item in cases]
    programs += launches.values()
    interleave(programs, rounds, time.perf_counter() + budget_s)
    print(f"timed {len(programs[0].rounds)} rounds", flush=True)
    samples: dict[tuple[OperationKind, str], list[Sample]] = {}
    for dtype, cases in timed.items():
        for case, item in cases:
            sample = Sample(operation=case.operation, seconds=item.least)
            samples.setdefault((case.operation.kind, dtype), []).append(sample)
    profile = _without_rates(name, measure_launch(launches), noise(programs))
    profile = dataclasses.replace(profile, launch=fit_parallel(samples, profile))
    return dataclasses.replace(profile, rates=_fit_all(samples, profile))


def _fit_all(
    samples: dict[tuple[OperationKind, str], list[Sample]], profile: DeviceProfile
) -> tuple[Rate, ...]:
    rates: list[Rate] = []
    for dtype in _DTYPES:
        kind = OperationKind.ELEMENTWISE
        first = fit_kind(kind, dtype, samples[kind, dtype], profile)
        rates.append(first)
        rates += [
            fit_kind(kind, dtype, given, profile, first.fresh_write_bytes_per_s)
            for (kind, other), given in samples.items()
            if other == dtype and kind is not OperationKind.ELEMENTWISE
        ]
    return tuple(rates)


def _without_rates(
    name: str, launch: Launch, spread: tuple[float, float]
) -> DeviceProfile:
    facts = environment.environment()
    total = environment.memory_bytes()
    return DeviceProfile(
        name=name,
        platform=Platform.CPU,
        device_kind=facts["device_kind"],
        cores=facts["cores"],
        provenance=Provenance(
            origin=Origin.MEASURED,
            date=facts["date"],
            sources=("python -m benchmarks.calibrate", facts["processor"]),
            jax_version=facts["versions"]["jax"],
            jaxlib_version=facts["versions"]["jaxlib"],
            plugin_versions=environment.plugin_versions(),
            flags=" ".join(f"{key}={value}" for key, value in facts["flags"].items()),
            threads=facts["cores"],
            noise_median_fraction=spread[0],
            noise_p90_fraction=spread[1],
            notes="One jitted program for each sample, its arguments warm; least time "
            "over interleaved rounds.",
        ),
        memory=Memory(
            capacity_bytes=total,
            usable_bytes=int(0.8 * total),
            scratch_margin_fraction=0.1,
            fresh_buffer_bytes=_FRESH_BUFFER_BYTES,
        ),
        launch=launch,
        rates=(),
    )


def report(profile: DeviceProfile) -> str:
    """Returns a table of the rates and how well they predict unseen samples."""
    launch, source = profile.launch, profile.provenance
    lines = [
        f"call {launch.call_overhead_s * 1e6:.2f} us, iteration "
        f"{launch.loop_overhead_s * 1e9:.0f} ns, splitting "
        f"{launch.parallel_overhead_s * 1e6:.0f} us from "
        f"{launch.parallel_min_s * 1e6:.0f} us on; noise median "
        f"{source.noise_median_fraction:.1%}, p90 {source.noise_p90_fraction:.1%}",
        f"{'class':38} {'GFLOP/s':>8} {'read':>6} {'write':>6} {'fresh':>6} GB/s"
        "  error: own, held out, p90",
    ]
    for rate in profile.rates:
        assert rate.fit is not None
        lines.append(
            f"{rate.kind + ' ' + rate.dtype:38} {rate.peak_flops_per_s / 1e9:8.1f} "
            f"{rate.read_bytes_per_s / 1e9:6.1f} {rate.write_bytes_per_s / 1e9:6.1f} "
            f"{rate.fresh_write_bytes_per_s / 1e9:6.1f}      "
            f"{rate.fit.median_error_fraction:13.0%} "
            f"{rate.fit.held_out_median_error_fraction:8.0%} "
            f"{rate.fit.held_out_p90_error_fraction:5.0%}"
        )
    return "\n".join(lines)


def main() -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="the .toml file to write")
    parser.add_argument("--name", default="x86_64_cpu", help="name of the profile")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing")
    parser.add_argument("--budget-s", type=float, default=40.0, help="seconds to time")
    arguments = parser.parse_args()
    if jax.devices()[0].platform != "cpu":
        parser.error("this calibration measures CPUs; set JAX_PLATFORMS=cpu")
    jax.config.update("jax_enable_x64", True)
    profile = calibrate(arguments.name, arguments.rounds, arguments.budget_s)
    save_profile(profile, arguments.out)
    print(report(profile))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
