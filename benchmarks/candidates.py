"""The ways in which a benchmark computes a kernel, made ready to be timed."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import Any

import jax

import ntkplan
from benchmarks import plain
from benchmarks.measure import memory_figures, patience, xla_flops
from benchmarks.problems import Inputs

CHOSEN = "chosen"
TUNED = "tuned"
METHODS = ("jacobian_contraction", "structured_derivatives", "ntk_vector_products")
FORCED = tuple(f"forced_{method}" for method in METHODS)
PLAIN = ("plain_jacobian_contraction", "plain_ntk_vector_products")
NAMES = (CHOSEN, *FORCED, *PLAIN)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A way to compute a kernel, compiled.

    Attributes:
        compiled: The executable.
        facts: What is known of it before it has run, as JSON can hold it.
        program: Names what was compiled: two that are equal are the same program.
    """

    compiled: Callable[..., jax.Array]
    facts: dict[str, Any]
    program: str


def prepare(
    name: str, inputs: Inputs, known: dict[str, Prepared], *, patience_s: int
) -> Prepared:
    """Plans and compiles a candidate.

    Args:
        name: One of `NAMES`, or `TUNED`.
        inputs: The model and its arguments.
        known: Candidates that are ready; one that has the same program is reused,
            and named in `facts["same_program_as"]`.
        patience_s: Seconds that tracing and compiling may take.

    Returns:
        The candidate, with seconds for each stage; `plan_s` includes the trace.

    Raises:
        OutOfPatienceError: It took longer.
        NtkPlanError: There is no such plan.
    """
    if name in PLAIN:
        make = getattr(plain, name.removeprefix("plain_"))
        function, facts = jax.jit(make(inputs.f)), {}
    else:
        function, facts = _planned(name, inputs)
    with patience(patience_s):
        started_s = time.perf_counter()
        lowered = function.lower(*inputs.arguments)
        facts["lower_s"] = time.perf_counter() - started_s
        program = hashlib.sha256(lowered.as_text().encode()).hexdigest()
        for other, prepared in known.items():
            if prepared.program == program:
                facts["same_program_as"] = other
                facts["compile_s"] = prepared.facts["compile_s"]
                facts["memory"] = prepared.facts["memory"]
                facts["xla_flops"] = prepared.facts["xla_flops"]
                return dataclasses.replace(prepared, facts=facts)
        started_s = time.perf_counter()
        compiled = lowered.compile()
        facts["compile_s"] = time.perf_counter() - started_s
    facts["memory"] = memory_figures(compiled)
    facts["xla_flops"] = xla_flops(compiled)
    return Prepared(compiled=compiled, facts=facts, program=program)


def _planned(name: str, inputs: Inputs) -> tuple[Any, dict[str, Any]]:
    """Returns the emitted function of a plan, and what the plan says of itself."""
    options: dict[str, Any] = {"methods": name.removeprefix("forced_")}
    if name in (CHOSEN, TUNED):
        options = {"tune": True} if name == TUNED else {}
    started_s = time.perf_counter()
    plan = ntkplan.plan(inputs.f, inputs.params, inputs.x1, inputs.x2, **options)
    plan_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    kernel = plan.compile()
    facts: dict[str, Any] = {
        "plan_s": plan_s,
        "load_s": time.perf_counter() - started_s,
        "estimated_s": float(plan.cost.seconds),
        "estimated_peak_bytes": float(plan.cost.peak_bytes),
        "device_profile": plan.device.name,
        "source_lines": len(plan.source().splitlines()),
        "leaves": {
            layer.path: f"{layer.method}: {layer.order}" for layer in plan.layers
        },
    }
    return kernel, facts
