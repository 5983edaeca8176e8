"""The devices that are compiled for, and what their compilers need to be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A device that XLA compiles for without it.

    Attributes:
        name: Name of its profile.
        platform: What `get_topology_desc` calls the platform.
        topology: Its topology, of which one device is used.
        needs: The module that holds the compiler.
        packages: What has to be installed for it.
        options: Further arguments of `get_topology_desc`.
        environment: Variables that must be set before JAX is imported.
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

    name: str
    platform: str
    topology: str
    needs: str
    packages: tuple[str, ...]
    options: Mapping[str, str]
    environment: Mapping[str, str]
    clock_hz: float
    launch_s: float
    estimate: str
    first: Mapping[str, Mapping[str, float]]
    fitted: tuple[str, ...]
    likely: float
    n_drawn: int
    sisters: tuple[str, ...]


# The device as XLA would find it: limits of compute capability 9.0, 132
# multiprocessors, HBM3 at 3.35 TB/s, 50 MiB of L2, at its boost clock.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
runtime_version { major: 12 minor: 8 patch: 0 }
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

# XLA's model of a GPU knows of nearly no size at which products are inefficient.
_LAUNCH = {"overhead_s": 0.33}
_ROOFLINE = {
    "half_efficiency_m": 1.0,
    "half_efficiency_n": 0.05,
    "half_efficiency_k": 0.2,
    **_LAUNCH,
}

_TPU_V5E = Target(
    name="tpu_v5e",
    platform="tpu",
    topology="v5e:2x2",
    needs="libtpu",
    packages=("libtpu",),
    options={},
    environment={
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    },
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
    name="nvidia_h100",
    platform="cuda",
    topology="1x1x1",
    needs="jax_cuda12_plugin",
    packages=("jax-cuda12-plugin", "jax-cuda12-pjrt"),
    options={"target_config": _H100},
    environment={
        "JAX_PLATFORMS": "cpu",
        # Nothing can be tuned without the device. Products of matrices are compiled
        # by Triton, since library calls get no estimate from the model below.
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
