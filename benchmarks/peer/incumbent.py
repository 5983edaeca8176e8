"""neural-tangents' side; only its own virtual environment can import this."""

from __future__ import annotations

import sys
import time
import types
from importlib import metadata
from typing import Any

import jax
import numpy as np
from jax._src import source_info_util
from jax.interpreters import ad

from benchmarks.peer.configurations import Case
from benchmarks.peer.prepared import Prepared

# Nothing here uses its experiments, which import TensorFlow.
sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")
# Two names that its last release still looks for where JAX no longer has them.
setattr(ad, "source_info_util", source_info_util)  # noqa: B010
setattr(ad, "config", jax.config)  # noqa: B010

import neural_tangents as nt  # noqa: E402  # pyright: ignore[reportMissingImports]

# Keys give the numbers that newer JAX gives.
jax.config.update("jax_threefry_partitionable", True)


def versions() -> dict[str, str]:
    """Returns what it runs on."""
    names = ("jax", "jaxlib", "numpy", "neural-tangents")
    return {name: metadata.version(name) for name in names}


def warm_up() -> None:
    """Computes something small, so that what is done once counts for no case."""
    ones = np.ones((2, 2), "f")
    for implementation in ("JACOBIAN_CONTRACTION", "STRUCTURED_DERIVATIVES"):
        kernel = nt.empirical_ntk_fn(
            lambda w, x: x @ w,
            trace_axes=(),
            vmap_axes=0,
            implementation=nt.NtkImplementation[implementation],
        )
        jax.block_until_ready(jax.jit(kernel)(ones, None, ones))


def prepare(case: Case, implementation: str) -> Prepared:
    """Compiles one of its implementations, as its users do.

    Args:
        case: What to compute.
        implementation: `jacobian_contraction`, `ntk_vector_products`,
            `structured_derivatives` or `auto`.
    """
    inputs = case.problem.build()
    arguments: tuple[Any, ...] = (inputs.x1, inputs.x2, inputs.params)
    jax.block_until_ready(arguments)
    started_s = time.perf_counter()
    kernel = nt.empirical_ntk_fn(
        inputs.f,
        trace_axes=(-1,) if case.kernel == "trace" else (),
        vmap_axes=0,
        implementation=nt.NtkImplementation[implementation.upper()],
    )
    lowered = jax.jit(kernel).lower(*arguments)
    lower_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    compiled = lowered.compile()
    facts = {"lower_s": lower_s, "compile_s": time.perf_counter() - started_s}
    return Prepared(compiled=compiled, arguments=arguments, facts=facts)
