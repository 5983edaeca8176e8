"""The devices that are compiled for, and what their compilers need to be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from benchmarks.targets.compilers import COMPILERS, Compiler


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A device that XLA compiles for without it.

    Attributes:
        compiler: Its compiler.
        flags: Variables that are set for the compiler beside its own.
        clock_hz: What cycles are counted in; 0 where the compiler says seconds.
        launch_s: What the compiler adds for every kernel that is launched.
        estimate: Which figures of the compiler are summed up, in words.
        first: Factors that a fit starts from, by class and field.
        fitted: Names of the layers to fit to; empty for all there are.
        likely: Orders that the datasheet expects to take so many times as long as the
            best one are not compiled for a fit: they tell nothing of the choice.
        n_drawn: How many layers of each kind are drawn at random to fit to.
        sisters: Profiles that what is learned is carried over to.
    """

    compiler: Compiler
    flags: Mapping[str, str]
    clock_hz: float
    launch_s: float
    estimate: str
    first: Mapping[str, Mapping[str, float]]
    fitted: tuple[str, ...]
    likely: float
    n_drawn: int
    sisters: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its profile."""
        return self.compiler.name

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that are set for the compiler."""
        return {**self.compiler.environment, **self.flags}


# XLA's model of a GPU knows of nearly no size at which products are inefficient.
_LAUNCH = {"overhead_s": 0.33}
_ROOFLINE = {
    "half_efficiency_m": 1.0,
    "half_efficiency_n": 0.05,
    "half_efficiency_k": 0.2,
    **_LAUNCH,
}

_TPU_V5E = Target(
    compiler=COMPILERS["tpu_v5e"],
    flags={},
    # 197e12 bfloat16 flops/s = 4 units * 128 * 128 * 2 * clock.
    clock_hz=1.5e9,
    launch_s=0.0,
    estimate=(
        "sum of estimated_cycles of all fusions and copies, times trip counts, at "
        "1.5 GHz; copies that run beside them (copy-start) count nothing"
    ),
    first={},
    # Compiling for a TPU takes seconds a program, for all layers half an hour.
    fitted=(
        "fit_dense_4",
        "fit_dense_32",
        "fit_dense_outputs",
        "fit_sequence_one",
        "fit_trace",
        "fit_dense_trace",
        "fit_embedding",
        "fit_scale",
    ),
    likely=8,
    n_drawn=0,
    sisters=("tpu_v4", "tpu_v5p", "tpu_v6e"),
)

_H100_SXM = Target(
    compiler=COMPILERS["nvidia_h100"],
    flags={
        # Products of matrices are compiled by Triton, since library calls get no
        # estimate from the model below.
        "XLA_FLAGS": "--xla_gpu_collect_cost_model_stats=true "
        "--xla_gpu_autotune_level=0 --xla_gpu_cublas_fallback=false",
    },
    clock_hz=0.0,
    launch_s=1e-6,
    estimate=(
        "sum over kernels of the unnamed reification_cost (GpuPerformanceModel: the "
        "longer of arithmetic and memory), and its 1 us for every launch, times trip "
        "counts; products of matrices count as float32 arithmetic outside of tensor "
        "cores, at half the datasheet's rate, as kernels by Triton that are not tuned"
    ),
    first={
        "dot": _ROOFLINE,
        "batched_dot": _ROOFLINE,
        "elementwise": _LAUNCH,
        "transpose": _LAUNCH,
        "gather": _LAUNCH,
    },
    fitted=(),
    likely=30,
    n_drawn=6,
    sisters=("nvidia_a100", "nvidia_h200"),
)

TARGETS: Mapping[str, Target] = {
    target.name: target for target in (_TPU_V5E, _H100_SXM)
}
