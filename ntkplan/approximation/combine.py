"""One plan out of two: some leaves exact, sum of logits for the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ntkplan.compiling import device_notes
from ntkplan.cost.symbols import total
from ntkplan.cost.work import Work, joined
from ntkplan.emit.source import Module
from ntkplan.emit.sum_of_parts import sum_of_parts
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import Approximation, LayerPlan, LeafFormulas, PlanCost
from ntkplan.planner.explain import approximation_notes, totals
from ntkplan.plans import Plan
from ntkplan.symbolic import Symbolic


def sum_of_logits_spec(spec: KernelSpec) -> KernelSpec:
    """Returns the kernel of the sum of logits of the same model and examples."""
    return dataclasses.replace(
        spec,
        name="sum_of_logits",
        full_axes=tuple(range(len(spec.output_shape))),
        trace_axes=(),
        diagonal_axes=(),
    )


def combined(
    exact: Plan,
    summed: Plan,
    whole: Plan,
    plan_at: Callable[[int, int | None], Plan],
    record: Approximation | None = None,
) -> Plan:
    """Returns the plan of a kernel of two parts.

    Args:
        exact: Of the leaves that stay exact.
        summed: Of the sum of logits of the others.
        whole: The exact plan of the whole kernel, for what stays as it is.
        plan_at: Plans the same for other numbers of examples.
        record: What is known of the approximation, once it is.
    """
    # A compiler may have both in memory at once.
    cost = dataclasses.replace(
        PlanCost.sum_of((exact.cost, summed.cost)),
        memory_limit_bytes=whole.cost.memory_limit_bytes,
    )
    notes = () if record is None else tuple(approximation_notes(record))
    for name, part in (("exact part", exact), ("sum of logits", summed)):
        notes += tuple(f"{name}: {note}" for note in part.notes)

    ends = device_notes(whole.device)

    def emit() -> Module:
        return sum_of_parts(
            exact.emit(),
            summed.emit(),
            whole.spec,
            title=f"{whole.headline}.",
            notes=[f"{note}." for note in (*totals(cost), *notes, *ends)],
        )

    def formulas_of(path: str) -> LeafFormulas:
        stands_in = any(layer.path == path for layer in summed.layers)
        return (summed if stands_in else exact).formulas_of(path)

    return dataclasses.replace(
        whole,
        layers=_layers(exact, summed, whole),
        cost=cost,
        notes=notes,
        emit=emit,
        symbolic_work=lambda: _symbolic(exact.symbolic, summed.symbolic),
        formulas_of=formulas_of,
        plan_at=plan_at,
        approximation=record,
    )


def _layers(exact: Plan, summed: Plan, whole: Plan) -> tuple[LayerPlan, ...]:
    """Returns the leaves' records in their order, and says which are approximate."""
    by_path = {layer.path: layer for layer in exact.layers}
    for layer in summed.layers:
        why = f"stands in for the exact part, within tolerance=; {layer.why}"
        by_path[layer.path] = dataclasses.replace(layer, why=why)
    return tuple(by_path[layer.path] for layer in whole.layers)


def _symbolic(exact: Symbolic, summed: Symbolic) -> Symbolic:
    return Symbolic(
        layers={**exact.layers, **summed.layers},
        contractions=joined((exact.contractions, summed.contractions)),
        forward=_both(exact.forward, summed.forward),
        sweep=_both(exact.sweep, summed.sweep),
        push=_both(exact.push, summed.push),
        peak_of=lambda: total(exact.peak_of(), summed.peak_of()),
        cut=joined((exact.cut, summed.cut)),
    )


def _both(one: Work, other: Work) -> Work:
    return dataclasses.replace(joined((one, other)), peak_bytes=one.peak_bytes)
