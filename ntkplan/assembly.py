"""From what was chosen for an output to the plan as users hold it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from ntkplan.compiling import device_notes
from ntkplan.cost.work import Operation, Work
from ntkplan.emit.lower import Choice, lower
from ntkplan.emit.source import Module, print_module
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import LayerPlan, Tuning
from ntkplan.ir.program import Program
from ntkplan.methods.candidate import Method
from ntkplan.methods.sharing import Key
from ntkplan.planner import shared as shared_passes
from ntkplan.planner.biases import with_bias
from ntkplan.planner.candidates import Priced
from ntkplan.planner.entrywise import entrywise
from ntkplan.planner.explain import totals, tuning_notes
from ntkplan.planner.leaf_formulas import leaf_formulas
from ntkplan.planner.leaf_plans import idle_plan, layer_plans, rank
from ntkplan.planner.notes import notes as notes_of
from ntkplan.planner.peak_formula import peak_formula
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.sides import joins_sides, ordered_taps
from ntkplan.planner.turned import turns_kernels
from ntkplan.planner.uncut import Chosen
from ntkplan.plans import Plan
from ntkplan.signature import Signature
from ntkplan.symbolic import Symbolic
from ntkplan.trace.layers import Layering
from ntkplan.trace.leaves import tree_inputs


def assemble(
    chosen: Chosen,
    layering: Layering,
    request: MethodRequest,
    *,
    subject: str,
    signature: Signature,
    n2: int | None,
    plan_at: Callable[[int, int | None], Plan],
    tuning: Tuning | None = None,
) -> Plan:
    """Emits the chosen kernel and puts it together with its records.

    Args:
        chosen: What was asked for and what was chosen.
        layering: The model with its layers.
        request: The methods asked for.
        subject: What the kernel is of, in words.
        signature: What it takes.
        n2: Examples in `x2`, or None where it is absent.
        plan_at: Plans the same for other numbers of examples.
        tuning: What was measured, or None.
    """
    problem, decision = chosen.problem, chosen.decision
    records = records_of(chosen, request)
    by_path = {record.path: record for record in records}
    all_records = tuple(
        by_path.get(layer.leaf.path) or idle_plan(layer) for layer in layering.layers
    )
    title = headline(problem.spec, subject, problem.n1, n2)
    remarks = notes_of(problem, decision)
    profile = problem.profile
    ends = device_notes(profile)
    notes = (*totals(decision.cost), *remarks, *ends)

    def emit() -> Module:
        return print_module(
            program_of(
                chosen,
                layering,
                records,
                signature,
                title=f"{title}.",
                notes=[f"{note}." for note in notes],
            )
        )

    return Plan(
        layers=all_records,
        cost=decision.cost,
        device=profile,
        spec=problem.spec,
        n1=problem.n1,
        n2=n2,
        signature=signature,
        headline=title,
        notes=(*remarks, *(() if tuning is None else tuning_notes(tuning))),
        emit=emit,
        symbolic_work=functools.partial(symbolic_work, chosen),
        formulas_of=functools.partial(leaf_formulas, chosen),
        plan_at=plan_at,
        tuning=tuning,
    )


def records_of(chosen: Chosen, request: MethodRequest) -> tuple[LayerPlan, ...]:
    """Records what was chosen for every layer, and why."""
    records = layer_plans(
        chosen.layers,
        chosen.priced,
        chosen.decision,
        request,
        chosen.limit_bytes,
        chosen.unlimited,
    )
    if chosen.instead_of is None:
        return records
    others = records_of(chosen.instead_of, request)
    return tuple(
        _with_tangents(record, other) if layer.by_tangents else record
        for layer, record, other in zip(chosen.layers, records, others, strict=True)
    )


def _with_tangents(record: LayerPlan, other: LayerPlan) -> LayerPlan:
    """Adds what a leaf's candidates are with cotangents to its record with tangents."""
    alternatives = sorted(
        dict.fromkeys((*record.alternatives, *other.alternatives)),
        key=rank,
    )
    why = record.why
    if record.method == Method.JACOBIAN_CONTRACTION.value:
        why = "its tangents, pushed forward, spare cotangents a part of the sweep"
    return dataclasses.replace(
        other,
        chosen=record.chosen,
        runner_up=other.chosen,
        why=why,
        alternatives=tuple(alternatives),
    )


def program_of(
    chosen: Chosen,
    layering: Layering,
    records: Sequence[LayerPlan],
    signature: Signature,
    *,
    title: str,
    notes: Sequence[str],
    cut_comments: tuple[str, ...] = (),
) -> Program:
    """Lowers what was chosen for the layers of a problem.

    Args:
        chosen: What was asked for and what was chosen.
        layering: The model with its layers.
        records: The same in words.
        signature: What the kernel takes.
        title: First line of the module's docstring.
        notes: Its further lines.
        cut_comments: What stands above the products at a cut, if there is one.
    """
    problem, decision = chosen.problem, chosen.decision
    study = problem.study
    choices = _choices(chosen, records, cut_comments)
    pushed = Method.NTK_VECTOR_PRODUCTS
    tapped = [each.layer for each in choices if each.candidate.method is not pushed]
    return lower(
        layering.reduced(tapped),
        choices,
        study.frame,
        params=signature.params,
        batch_axis=signature.batch_axis,
        data_access=tuple(item.access for item in tree_inputs(signature.x)),
        precision=problem.precision,
        tiling=decision.tiling,
        lower_blocks=decision.lower_blocks,
        turns_kernels=turns_kernels(chosen),
        ordered=ordered_taps(chosen),
        joins_sides=joins_sides(chosen),
        title=title,
        notes=tuple(notes),
    )


def _choices(
    chosen: Chosen, records: Sequence[LayerPlan], cut_comments: tuple[str, ...]
) -> list[Choice]:
    """Returns what is printed for every leaf, or for a leaf and its bias."""
    problem, decision = chosen.problem, chosen.decision
    found: list[Choice] = []
    for number, (layer, item, record) in enumerate(
        zip(chosen.layers, decision.chosen, records, strict=True)
    ):
        tapped, candidate = item.candidate.layer_of(layer), item.candidate
        if layer is problem.study.cut:
            found.append(
                Choice(layer=tapped, candidate=candidate, comments=cut_comments)
            )
        elif number not in decision.biases:
            candidate = entrywise(problem, tapped, candidate, decision.tiling)
            candidate, bias = with_bias(candidate, number, chosen)
            found.append(
                Choice(
                    layer=tapped,
                    candidate=candidate,
                    record=record,
                    bias=None if bias is None else records[bias],
                )
            )
    return found


def headline(spec: KernelSpec, subject: str, n1: int, n2: int | None) -> str:
    """Says what a plan is of, as its table and its source do."""
    other = "x2 absent" if n2 is None else f"n2={n2}"
    counts = "" if spec.whole_batch else f", planned for n1={n1}, {other}"
    kind = spec.name.replace("axes", "partial").replace("_", " ")
    return f"The {kind} neural tangent kernel of {subject}, {spec.describe()}{counts}"


def _work(problem: Problem, item: Priced) -> Work:
    candidate = item.candidate
    return candidate.symmetric_work if problem.symmetric else candidate.work


def _distinct(problem: Problem, chosen: Sequence[Priced]) -> tuple[Operation, ...]:
    """Returns the operations of candidates together, each shared statement once."""
    computed: set[Key] = set()
    found: list[Operation] = []
    for item in chosen:
        candidate = item.candidate
        work = _work(problem, item)
        parts = candidate.symmetric_parts if problem.symmetric else candidate.parts
        start = 0
        for key, count in parts:
            if key not in computed:
                found += work.operations[start : start + count]
            start += count
        found += work.operations[start:]
        computed.update(key for key, _ in parts)
    return tuple(found)


def symbolic_work(chosen: Chosen) -> Symbolic:
    """Writes the chosen candidates' work in symbols."""
    problem = chosen.problem
    items = [
        (item.candidate.layer_of(layer), item)
        for layer, item in zip(chosen.layers, chosen.decision.chosen, strict=True)
    ]
    tapped = [layer for layer, item in items if not item.pushed]
    pushed = [layer for layer, item in items if item.pushed]
    shared = shared_passes.symbolic_work(problem, tapped, pushed)
    works = {layer.leaf.path: _work(problem, item) for layer, item in items}
    return Symbolic(
        layers=works,
        contractions=Work(operations=_distinct(problem, chosen.decision.chosen)),
        forward=shared.forward,
        sweep=shared.sweep,
        push=shared.push,
        peak_of=functools.partial(peak_formula, chosen),
    )
