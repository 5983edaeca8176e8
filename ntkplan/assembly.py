"""From what was chosen for an output to the plan as users hold it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from ntkplan.emit.lower import Choice, lower
from ntkplan.emit.source import Module, print_module
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import LayerPlan, Tuning
from ntkplan.ir.use import Layer
from ntkplan.planner.choose import Decision
from ntkplan.planner.explain import (
    comments,
    device_line,
    idle_plan,
    totals,
    tuning_notes,
)
from ntkplan.planner.notes import notes
from ntkplan.planner.problem import Problem
from ntkplan.planner.shared import shared_work
from ntkplan.plans import Plan, Signature, Symbolic
from ntkplan.trace.layers import Layering
from ntkplan.trace.leaves import tree_inputs


def assemble(
    problem: Problem,
    layering: Layering,
    records: Sequence[LayerPlan],
    decision: Decision,
    *,
    subject: str,
    signature: Signature,
    n2: int | None,
    plan_at: Callable[[int, int | None], Plan],
    tuning: Tuning | None = None,
) -> Plan:
    """Emits the chosen kernel and puts it together with its records.

    Args:
        problem: What was asked for.
        layering: The model with its layers.
        records: What was chosen for those that are not idle.
        decision: The same as candidates.
        subject: What the kernel is of, in words.
        signature: What it takes.
        n2: Examples in `x2`, or None where it is absent.
        plan_at: Plans the same for other numbers of examples.
        tuning: What was measured, or None.
    """
    layers = layering.layers
    active = [layer for layer in layers if not layer.idle]
    chosen = [
        item.candidate.layer_of(layer)
        for layer, item in zip(active, decision.chosen, strict=True)
    ]
    tapped = [
        layer
        for layer, item in zip(chosen, decision.chosen, strict=True)
        if not item.pushed
    ]
    by_path = {record.path: record for record in records}
    all_records = tuple(
        by_path.get(layer.leaf.path) or idle_plan(layer) for layer in layers
    )
    title = headline(problem.spec, subject, problem.n1, n2)
    remarks = notes(problem, decision)

    def emit() -> Module:
        program = lower(
            layering.reduced(tapped),
            [
                Choice(layer=layer, candidate=item.candidate, comments=comments(record))
                for layer, item, record in zip(
                    chosen, decision.chosen, records, strict=True
                )
            ],
            problem.study.frame,
            batch_axis=signature.batch_axis,
            data_access=tuple(item.access for item in tree_inputs(signature.x)),
            precision=problem.precision,
            tiling=decision.tiling,
            lower_blocks=decision.lower_blocks,
            title=f"{title}.",
            notes=tuple(
                f"{note}."
                for note in (
                    *totals(decision.cost),
                    *remarks,
                    device_line(problem.profile),
                )
            ),
        )
        return print_module(program)

    return Plan(
        layers=all_records,
        cost=decision.cost,
        device=problem.profile,
        spec=problem.spec,
        n1=problem.n1,
        n2=n2,
        signature=signature,
        headline=title,
        notes=(*remarks, *(() if tuning is None else tuning_notes(tuning))),
        emit=emit,
        symbolic_work=functools.partial(_symbolic, problem, chosen, decision),
        plan_at=plan_at,
        tuning=tuning,
    )


def headline(spec: KernelSpec, subject: str, n1: int, n2: int | None) -> str:
    """Says what a plan is of, as its table and its source do."""
    other = "x2 absent" if n2 is None else f"n2={n2}"
    counts = "" if spec.whole_batch else f", planned for n1={n1}, {other}"
    kind = spec.name.replace("axes", "partial").replace("_", " ")
    return f"The {kind} neural tangent kernel of {subject}, {spec.describe()}{counts}"


def _symbolic(
    problem: Problem, layers: Sequence[Layer], decision: Decision
) -> Symbolic:
    """Writes the chosen candidates' work in symbols."""
    chosen = list(zip(layers, decision.chosen, strict=True))
    tapped = [layer for layer, item in chosen if not item.pushed]
    pushed = [layer for layer, item in chosen if item.pushed]
    shared = shared_work(problem, tapped, pushed, symbolic=True)
    return Symbolic(
        layers={
            layer.leaf.path: (
                item.candidate.symmetric_work
                if problem.symmetric
                else item.candidate.work
            )
            for layer, item in chosen
        },
        forward=shared.forward,
        sweep=shared.sweep,
        push=shared.push,
    )
