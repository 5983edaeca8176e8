"""From what was chosen for a model that is cut to the plan as users hold it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from ntkplan.assembly import headline, program_of, records_of, symbolic_work
from ntkplan.compiling import device_notes
from ntkplan.cost.symbols import Size, most, total
from ntkplan.cost.work import joined
from ntkplan.emit.join import HIDDEN_KERNEL, with_hidden
from ntkplan.emit.source import Module, print_module
from ntkplan.errors import InternalError
from ntkplan.ir.plan import LayerPlan, LeafFormulas, Tuning
from ntkplan.ir.quantities import counted, duration
from ntkplan.methods.cut import HIDDEN
from ntkplan.planner.cuts import CutChosen
from ntkplan.planner.explain import totals, tuning_notes
from ntkplan.planner.held import Counts, held_sizes
from ntkplan.planner.leaf_formulas import leaf_formulas
from ntkplan.planner.leaf_plans import idle_plan
from ntkplan.planner.notes import precision_notes, search_notes, tiling_notes
from ntkplan.planner.peak_formula import peak_formula
from ntkplan.planner.request import MethodRequest
from ntkplan.plans import Plan
from ntkplan.signature import Signature
from ntkplan.symbolic import Symbolic
from ntkplan.trace.layers import Layering


def assemble_cut(
    chosen: CutChosen,
    layering: Layering,
    request: MethodRequest,
    *,
    subject: str,
    signature: Signature,
    n2: int | None,
    plan_at: Callable[[int, int | None], Plan],
    tuning: Tuning | None = None,
) -> Plan:
    """Emits the kernel of a model that is cut, and puts it together with its records.

    Args:
        chosen: The cut, and what was chosen before and after it.
        layering: The model with its layers.
        request: The methods asked for.
        subject: What the kernel is of, in words.
        signature: What it takes.
        n2: Examples in `x2`, or None where it is absent.
        plan_at: Plans the same for other numbers of examples.
        tuning: What was measured, or None.
    """
    hidden, tail = chosen.hidden, chosen.tail
    problem = tail.problem
    behind = [_behind(record, chosen) for record in records_of(hidden, request)]
    after = records_of(tail, request)
    by_path = {record.path: record for record in (*behind, *after[:-1])}
    notes = cut_notes(chosen)
    title = headline(problem.spec, subject, problem.n1, n2)
    return Plan(
        layers=tuple(
            by_path.get(layer.leaf.path) or idle_plan(layer)
            for layer in layering.layers
        ),
        cost=chosen.cost,
        device=problem.profile,
        spec=problem.spec,
        n1=problem.n1,
        n2=n2,
        signature=signature,
        headline=title,
        emit=functools.partial(
            _emit, chosen, layering, signature, title, notes, behind, after
        ),
        symbolic_work=functools.partial(_symbolic, chosen),
        formulas_of=functools.partial(_formulas_of, chosen),
        plan_at=plan_at,
        notes=(*notes, *(() if tuning is None else tuning_notes(tuning))),
        tuning=tuning,
    )


def _behind(record: LayerPlan, chosen: CutChosen) -> LayerPlan:
    """Says of a leaf that its figures are of the kernel at the cut."""
    values = counted(chosen.cut.bottleneck.size, "value")
    why = f"to the {values} at the cut: {record.why}"
    return dataclasses.replace(record, why=why)


def cut_notes(chosen: CutChosen) -> tuple[str, ...]:
    """Says where a model is cut, and what that gains."""
    bottleneck, products = chosen.cut.bottleneck, chosen.products
    gain = "nothing fits the memory limit without"
    if chosen.gain is not None:
        gain = f"{chosen.gain:.3g} times faster than without"
    values = counted(bottleneck.size, "value")
    leaves = counted(len(bottleneck.paths), "leaf", "leaves")
    return (
        f"cut at {bottleneck.describe()} with {values}: "
        f"Theta = G Theta_cut G^T, {gain}",
        f"the kernel of {leaves} at the cut "
        f"{duration(chosen.hidden.decision.cost.seconds)}, its products with G "
        f"{duration(products.seconds)} in the order {products.candidate.order}",
        *(f"the kernel at the cut {line}" for line in _hidden_tiles(chosen)),
        *precision_notes(chosen.tail.problem.precision),
        *dict.fromkeys(
            line
            for part in (chosen.hidden, chosen.tail)
            for line in search_notes(part.decision)
        ),
    )


def _hidden_tiles(chosen: CutChosen) -> tuple[str, ...]:
    hidden = chosen.hidden
    return tiling_notes(hidden.decision, hidden.problem.spec, hidden.limit_bytes)


def _emit(
    chosen: CutChosen,
    layering: Layering,
    signature: Signature,
    title: str,
    notes: Sequence[str],
    behind: Sequence[LayerPlan],
    after: Sequence[LayerPlan],
) -> Module:
    """Prints both kernels, that of the values at the cut first."""
    cut, tail = chosen.cut, chosen.tail
    values = counted(cut.bottleneck.size, "value")
    ends = [*totals(chosen.cost), *device_notes(tail.problem.profile)]
    products = (f"the {values} at the cut: G Theta_cut G^T, {after[-1].order}",)
    hidden_program = program_of(
        chosen.hidden,
        cut.layering,
        behind,
        signature,
        title=f"The kernel of the {values} at the cut.",
        notes=(),
    )
    program = program_of(
        tail,
        layering,
        after,
        signature,
        title=f"{title}.",
        notes=[f"{note}." for note in (*ends, *notes)],
        cut_comments=products,
    )
    if program.tiling is not None:
        raise InternalError("a cut whose kernel is not held as a whole", program)
    # The array has the name of both sides, as statements of either may read it.
    program = dataclasses.replace(
        program,
        input_names={**program.input_names, HIDDEN: "hidden"},
        prelude=(f"hidden = {HIDDEN_KERNEL}(params, x1, x2)",),
    )
    return with_hidden(print_module(program), print_module(hidden_program))


def _formulas_of(chosen: CutChosen, path: str) -> LeafFormulas:
    behind = path in chosen.cut.bottleneck.paths
    return leaf_formulas(chosen.hidden if behind else chosen.tail, path)


def _symbolic(chosen: CutChosen) -> Symbolic:
    """Writes the work of both parts in symbols; what is merged is left out."""
    hidden = symbolic_work(chosen.hidden)
    tail = symbolic_work(chosen.tail)
    own = dict(tail.layers)
    products = own.pop(chosen.cut.layer.leaf.path)
    forward = [tail.forward, *([hidden.forward] if chosen.cut.has_loop else [])]
    return Symbolic(
        layers={**hidden.layers, **own},
        contractions=joined([hidden.contractions, tail.contractions]),
        forward=joined(forward),
        sweep=joined([hidden.sweep, tail.sweep]),
        push=joined([hidden.push, tail.push]),
        peak_of=functools.partial(_peak_formula, chosen),
        cut=products,
    )


def _peak_formula(chosen: CutChosen) -> Size:
    """Writes the peak of both parts in symbols; the first's kernel is held."""
    hidden, tail = chosen.hidden, chosen.tail
    counts = Counts.of(hidden.problem, symbolic=True)
    kernel_bytes = held_sizes(hidden.problem, (), counts).kernel_bytes
    return most(peak_formula(hidden), total(peak_formula(tail), kernel_bytes))
