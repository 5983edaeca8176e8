"""ntkplan's side, and what the least work of any order is."""

from __future__ import annotations

import math
import time
from typing import Any

import jax
import numpy as np

import ntkplan
from benchmarks.environment import environment
from benchmarks.peer.configurations import Case
from benchmarks.peer.prepared import Prepared
from ntkplan.errors import NtkPlanError

_METHODS = (
    None,
    "jacobian_contraction",
    "structured_derivatives",
    "ntk_vector_products",
)


def versions() -> dict[str, Any]:
    """Returns what it runs on."""
    return environment()


def warm_up() -> None:
    """Computes something small, so that what is done once counts for no case."""
    ones = np.ones((2, 2), "f")
    plan = ntkplan.plan(lambda w, x: x @ w, ones, ones)
    jax.block_until_ready(plan.compile()(ones, ones))


def prepare(case: Case, implementation: str) -> Prepared:
    """Plans and compiles, as a user does who names no method.

    Args:
        case: What to compute.
        implementation: `ntkplan`.
    """
    del implementation
    inputs = case.problem.build()
    jax.block_until_ready(inputs.arguments)
    started_s = time.perf_counter()
    plan = ntkplan.plan(
        inputs.f, inputs.params, inputs.x1, inputs.x2, kernel=case.kernel
    )
    plan_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    kernel: Any = plan.compile()
    load_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    lowered = kernel.lower(*inputs.arguments)
    lower_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    compiled = lowered.compile()
    facts = {
        "plan_s": plan_s,
        "load_s": load_s,
        "lower_s": lower_s,
        "compile_s": time.perf_counter() - started_s,
        "estimated_s": float(plan.cost.seconds),
        "estimated_peak_bytes": float(plan.cost.peak_bytes),
        "device_profile": plan.device.name,
        "leaves": {
            layer.path: f"{layer.method}: {layer.order}" for layer in plan.layers
        },
    }
    return Prepared(compiled=compiled, arguments=inputs.arguments, facts=facts)


def least_work(case: Case) -> dict[str, float]:
    """Returns the least operations and the least traffic of any known order.

    Every method is planned for. Of each plan, what its leaves' chosen orders do is
    replaced by the least that any order of the same method does; what they share
    stays. Operations and traffic are minimised apart, so that no one program may reach
    both.
    """
    inputs = case.problem.build()
    flops = moved = math.inf
    for method in _METHODS:
        options: dict[str, Any] = {} if method is None else {"methods": method}
        try:
            plan = ntkplan.plan(
                inputs.f,
                inputs.params,
                inputs.x1,
                inputs.x2,
                kernel=case.kernel,
                **options,
            )
        except NtkPlanError:
            continue
        own = [
            [other for other in layer.alternatives if other.method == layer.method]
            for layer in plan.layers
            if layer.alternatives
        ]
        chosen = [layer.chosen for layer in plan.layers if layer.alternatives]
        spared_flops = sum(item.flops for item in chosen) - sum(
            min(other.flops for other in others) for others in own
        )
        spared_bytes = sum(item.bytes_moved for item in chosen) - sum(
            min(other.bytes_moved for other in others) for others in own
        )
        flops = min(flops, plan.cost.flops - spared_flops)
        moved = min(moved, plan.cost.bytes_moved - spared_bytes)
    return {"flops": float(flops), "bytes": float(moved)}
