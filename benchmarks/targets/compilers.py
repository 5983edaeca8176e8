"""The compilers of devices that are not there, and the processes that they run in."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

_ROOT = Path(__file__).resolve().parents[2]


class CompilerError(RuntimeError):
    """The process that compiles ended before it was done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiler:
    """What compiles for a device without it.

    Attributes:
        name: Name of the device's profile.
        platform: What `get_topology_desc` calls the platform.
        topology: Its topology, of which one device is used.
        needs: The module that holds the compiler.
        packages: What has to be installed for it.
        environment: Variables that must be set before JAX is imported.
        config: The device as XLA would find it, where the compiler has to be told.
    """

    name: str
    platform: str
    topology: str
    needs: str
    packages: tuple[str, ...]
    environment: Mapping[str, str]
    config: str = ""


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


def _tpu(name: str, topology: str) -> Compiler:
    return Compiler(
        name=name,
        platform="tpu",
        topology=topology,
        needs="libtpu",
        packages=("libtpu",),
        environment={
            "JAX_PLATFORMS": "cpu",
            "TPU_SKIP_MDS_QUERY": "1",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        },
    )


COMPILERS: Mapping[str, Compiler] = {
    compiler.name: compiler
    for compiler in (
        _tpu("tpu_v5e", "v5e:2x2"),
        _tpu("tpu_v6e", "v6e:2x2"),
        Compiler(
            name="nvidia_h100",
            platform="cuda",
            topology="1x1x1",
            needs="jax_cuda12_plugin",
            packages=("jax-cuda12-plugin", "jax-cuda12-pjrt"),
            # Nothing can be tuned without the device, and what Triton takes untuned
            # fits not every product: they are left to the library.
            environment={
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": "--xla_gpu_autotune_level=0 "
                "--xla_gpu_enable_triton_gemm=false",
            },
            config=_H100,
        ),
    )
}


def missing(compiler: Compiler) -> str | None:
    """Says what has to be installed to compile for a device, or None."""
    if importlib.util.find_spec(compiler.needs) is not None:
        return None
    packages = " ".join(compiler.packages)
    return f"{compiler.needs} is not installed: pip install {packages}"


def placed_on(compiler: Compiler) -> SingleDeviceSharding:
    """Returns where arrays are to be, in a process that `answers` has started."""
    options: dict[str, Any] = {}
    if compiler.platform == "cuda":
        options = {"topology": compiler.topology, "target_config": compiler.config}
    topology = topologies.get_topology_desc(
        platform=compiler.platform, topology_name=compiler.topology, **options
    )
    return SingleDeviceSharding(topology.devices[0])


def answers(
    compiler: Compiler,
    worker: str,
    name: str,
    programs: Sequence[Mapping[str, Any]],
    flags: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Has a process compile programs, and yields what it says of one after the other.

    Args:
        compiler: What compiles; its environment is the process's.
        worker: The module that the process runs: it reads all programs as JSON and
            prints a line of JSON for each.
        name: The argument that the module is given.
        programs: What JSON can hold of them.
        flags: Further variables of the environment.

    Raises:
        CompilerError: The process ended early; the message holds its last words.
    """
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        json.dump(programs, given)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", worker, name],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=_environment({**compiler.environment, **(flags or {})}),
        )
        answered = 0
        with process:
            for line in process.stdout or ():
                answered += 1
                yield json.loads(line)
        if answered < len(programs):
            said.seek(0)
            last = "".join(said.readlines()[-5:])
            raise CompilerError(f"compiling for {compiler.name} ended early:\n{last}")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **own,
    }
