"""A plan in words: records for every leaf, and the table that `print(plan)` shows."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence, Set

from rich import box
from rich.console import Console
from rich.table import Table

from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.work import Work
from ntkplan.errors import readable_bytes
from ntkplan.ir.plan import (
    Alternative,
    Approximation,
    LayerPlan,
    LeafFormulas,
    PlanCost,
    Tuning,
)
from ntkplan.ir.quantities import duration, quantity
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Method
from ntkplan.planner.candidates import Priced
from ntkplan.planner.division import Decision
from ntkplan.planner.request import MethodRequest

_WIDTH = 170


def layer_plans(
    layers: Sequence[Layer],
    priced: Sequence[tuple[Priced, ...]],
    decision: Decision,
    request: MethodRequest,
    limit_bytes: float,
) -> tuple[LayerPlan, ...]:
    """Records what was chosen for every leaf, and why.

    A leaf's figures are what it adds, given the leaves before it: what they compute
    anyway costs it nothing.
    """
    n_pushed = sum(item.pushed for item in decision.chosen)
    recorder = _Recorder(
        resident_bytes=decision.shared.resident_bytes,
        limit_bytes=limit_bytes,
        push_share_s=decision.cost.push_seconds / n_pushed if n_pushed else 0.0,
        n_tiles=decision.n_tiles,
    )
    computed: set[int | None] = set()
    plans: list[LayerPlan] = []
    for layer, items, chosen in zip(layers, priced, decision.chosen, strict=True):
        plans.append(_layer_plan(layer, items, chosen, request, recorder, computed))
        computed.update(chosen.keys)
    return tuple(plans)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Recorder:
    """Turns priced candidates into records."""

    resident_bytes: float
    limit_bytes: float
    push_share_s: float
    n_tiles: int
    known: dict[object, Alternative] = dataclasses.field(default_factory=dict)

    def record(self, item: Priced, computed: Set[int | None]) -> Alternative:
        if not item.keys.isdisjoint(computed):
            return self._record(item, computed)
        # Nothing is computed anyway, so leaves of one form have the same records.
        candidate, measured_s = item.candidate, item.measured_s
        key = (item.figures, candidate.method, candidate.order, measured_s)
        if key not in self.known:
            self.known[key] = self._record(item, computed)
        return self.known[key]

    def _record(self, item: Priced, computed: Set[int | None]) -> Alternative:
        left = item.left(computed)
        return Alternative(
            method=item.candidate.method.value,
            order=item.candidate.order,
            seconds=self.push_share_s if item.pushed else self.n_tiles * left.seconds,
            flops=self.n_tiles * left.flops,
            bytes_moved=self.n_tiles * left.bytes_moved,
            peak_bytes=item.peak_bytes,
            feasible=self.resident_bytes + item.peak_bytes <= self.limit_bytes,
            predicted_seconds=None
            if item.correction == 1.0
            else item.seconds / item.correction,
            measured_seconds=item.measured_s,
        )


def idle_plan(layer: Layer) -> LayerPlan:
    """Records a leaf that the output does not depend on."""
    nothing = Alternative(
        method="none",
        order="",
        seconds=0.0,
        flops=0.0,
        bytes_moved=0.0,
        peak_bytes=0.0,
        feasible=True,
    )
    return LayerPlan(
        path=layer.leaf.path,
        shape=layer.leaf.shape,
        rules=(),
        n_uses=0,
        chosen=nothing,
        runner_up=None,
        why="the output does not depend on it: it adds zero",
        alternatives=(nothing,),
    )


def _layer_plan(
    layer: Layer,
    items: Sequence[Priced],
    chosen: Priced,
    request: MethodRequest,
    recorder: _Recorder,
    computed: Set[int | None],
) -> LayerPlan:
    record = recorder.record(chosen, computed)
    alternatives = [recorder.record(item, computed) for item in items]
    others = [
        made
        for made, item in zip(alternatives, items, strict=True)
        if item is not chosen and item.allowed and not item.pushed
    ]
    runner_up = min(others, key=lambda item: item.seconds, default=None)
    shares = any(key in computed for key in chosen.keys)
    return LayerPlan(
        path=layer.leaf.path,
        shape=layer.leaf.shape,
        rules=_rules(layer),
        n_uses=sum(len(stack.uses) for stack in layer.stacks),
        chosen=record,
        runner_up=runner_up,
        why=_why(layer, record, runner_up, request, shares=shares),
        alternatives=tuple(sorted(alternatives, key=rank)),
    )


def rank(item: Alternative) -> tuple[bool, float]:
    """Puts the cheapest first; what has no time of its own is not the cheapest."""
    pushed = item.method == Method.NTK_VECTOR_PRODUCTS.value
    return pushed and not item.seconds, item.seconds


def _why(
    layer: Layer,
    chosen: Alternative,
    runner_up: Alternative | None,
    request: MethodRequest,
    *,
    shares: bool,
) -> str:
    parts: list[str] = []
    allowed, forced = request.of(layer.leaf.path)
    if layer.opaque is not None:
        parts.append(f"opaque: {layer.opaque}")
    if forced:
        parts.append("forced by methods=")
    elif len(allowed) < len(Method):
        parts.append(f"methods= allows {', '.join(allowed)}")
    if shares:
        parts.append("shares products with leaves above")
    if chosen.method == Method.NTK_VECTOR_PRODUCTS.value:
        parts.append("shares one push forward with the other pushed leaves")
    elif runner_up is not None and chosen.seconds > 0:
        ratio = runner_up.seconds / chosen.seconds
        if ratio >= 1.005:
            parts.append(f"{ratio:.3g} times faster than the runner-up")
        elif ratio <= 0.995:
            parts.append(_why_slower(runner_up))
        else:
            parts.append("as fast as the runner-up")
    return "; ".join(parts) or "the only candidate"


def _why_slower(runner_up: Alternative) -> str:
    if not runner_up.feasible:
        return "the faster runner-up does not fit the memory limit"
    return "leaves below share its products, so that all together are faster"


def table(
    layers: Sequence[LayerPlan],
    cost: PlanCost,
    profile: DeviceProfile,
    headline: str,
    notes: Sequence[str],
    tuning: Tuning | None = None,
) -> str:
    """Writes the table that `print(plan)` shows, the same on every terminal."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("leaf", "shape", "method", "order"):
        rows.add_column(name, no_wrap=True)
    rows.add_column("runner-up", overflow="fold")
    for name in ("flops", "bytes", "peak", "seconds"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("why", overflow="fold")
    for layer in layers:
        rows.add_row(
            layer.path or "(params)",
            "x".join(map(str, layer.shape)) or "()",
            layer.method,
            layer.order,
            _runner_up(layer.runner_up),
            quantity(layer.chosen.flops),
            readable_bytes(layer.chosen.bytes_moved),
            readable_bytes(layer.chosen.peak_bytes),
            _seconds(layer.chosen),
            layer.why,
        )
    lines = [headline, "", _rendered(rows)]
    lines += ["", *totals(cost, tuning), device_line(profile), *notes]
    return "\n".join(lines)


def _runner_up(alternative: Alternative | None) -> str:
    if alternative is None:
        return "none"
    return f"{alternative.method} {alternative.order}, {duration(alternative.seconds)}"


def _seconds(item: Alternative) -> str:
    """Writes a time, and whether it comes from a measurement."""
    measured = " measured" * (item.measured_seconds is not None)
    return duration(item.seconds) + measured


def tuning_notes(tuning: Tuning) -> list[str]:
    """Says what was measured for a plan, and what it showed."""
    if tuning.n_timed:
        first = (
            f"tuned: {tuning.n_timed} programs timed, {tuning.n_cached} timings from "
            f"the cache; {duration(tuning.spent_s)} of at most "
            f"{duration(tuning.budget_s)} spent, compilation included"
        )
    elif not tuning.n_cached:
        first = "tuned: nothing was timed"
    else:
        first = f"tuned: {tuning.n_cached} timings, all from the cache, none made"
    notes = [first]
    for number, plan in enumerate(tuning.plans):
        if plan.measured_seconds is None:
            told = f"not measured, {plan.why_not}"
        else:
            told = f"measured {duration(plan.measured_seconds)}"
        taken = ", taken" * (number == 0)
        predicted = duration(plan.predicted_seconds)
        notes.append(
            f"  whole kernel, {plan.what}: {told}; predicted {predicted}{taken}"
        )
    return notes


def approximation_notes(found: Approximation) -> list[str]:
    """Says what sum of logits stands in for, and what else was tried."""
    first = f"tolerance {found.tolerance:g}: "
    if found.paths:
        saved = 1 - found.seconds / found.exact_seconds
        first += (
            f"sum of logits stands in for {', '.join(found.paths)}; relative error "
            f"{found.error:.3g} on {found.n_probes} probes; predicted "
            f"{duration(found.seconds)} in place of {duration(found.exact_seconds)}, "
            f"{saved:.0%} saved"
        )
    elif found.trials:
        first += f"all exact, no stand-in is close enough on {found.n_probes} probes"
    else:
        first += "all exact, no stand-in would save time"
    return [
        first,
        *(
            f"  tried {trial.what}: relative error {trial.error:.3g}, predicted "
            f"{duration(trial.seconds)}"
            for trial in found.trials
        ),
    ]


def totals(cost: PlanCost, tuning: Tuning | None = None) -> list[str]:
    """Writes the totals of a plan; with `tuning`, what was measured beside them."""
    total = f"total {duration(cost.seconds)}"
    if tuning is not None:
        measured_s = tuning.plans[0].measured_seconds if tuning.plans else None
        told = "" if measured_s is None else f" ({duration(measured_s)} measured)"
        total += f" predicted{told}"
    return [
        f"{total}: call {duration(cost.call_seconds)}, forward "
        f"{duration(cost.forward_seconds)}, sweep {duration(cost.sweep_seconds)}, "
        f"contractions {duration(cost.contraction_seconds)}, push "
        f"{duration(cost.push_seconds)}",
        f"total {quantity(cost.flops)}flop, {readable_bytes(cost.bytes_moved)} moved, "
        f"peak {readable_bytes(cost.peak_bytes)} of at most "
        f"{readable_bytes(cost.memory_limit_bytes)}",
    ]


def device_line(profile: DeviceProfile) -> str:
    """Says which device the figures are for and where its rates come from."""
    provenance = profile.provenance
    return (
        f"device {profile.name} ({profile.device_kind}), rates {provenance.origin} "
        f"{provenance.date}"
    )


def alternatives_table(layer: LayerPlan, formulas: LeafFormulas) -> str:
    """Lists every candidate of a leaf, cheapest first."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", "method", "order"):
        rows.add_column(name)
    for name in ("flops", "bytes", "peak", "seconds"):
        rows.add_column(name, justify="right", no_wrap=True)
    tuned = any(item.measured_seconds is not None for item in layer.alternatives)
    for name in ("predicted alone", "measured alone") if tuned else ():
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("fits")
    rows.add_column("formula of the flops, alone", overflow="fold")
    for item in layer.alternatives:
        pushed = item.method == Method.NTK_VECTOR_PRODUCTS.value
        fits = item.feasible and (formulas.push_fits or not pushed)
        figures = (
            quantity(item.flops),
            readable_bytes(item.bytes_moved),
            readable_bytes(item.peak_bytes),
            duration(item.seconds),
        )
        rows.add_row(
            "chosen" if item == layer.chosen else "",
            item.method,
            item.order,
            *(("shared",) * len(figures) if pushed else figures),
            *(_alone(item) if tuned else ()),
            "yes" if fits else "no",
            formulas.candidates.get(f"{item.method} {item.order}", ""),
        )
    told = f"\n\n{formulas.push}." if formulas.push else ""
    return f"{layer.path}: {layer.why}\n\n{_rendered(rows)}{told}"


def formulas_table(layers: Mapping[str, Work], passes: Mapping[str, Work]) -> str:
    """Writes the formulas of work that leaves and passes take.

    Args:
        layers: Work of the leaves alone, by path.
        passes: Work of what they share, and of all together, by name.
    """
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("leaf", "flops", "bytes read", "bytes written"):
        rows.add_column(name, overflow="fold")
    for number, works in enumerate((layers, passes)):
        if number:
            rows.add_section()
        for name, work in works.items():
            rows.add_row(
                name or "(params)",
                str(work.flops),
                str(work.bytes_read),
                str(work.bytes_written),
            )
    return _rendered(rows)


def _alone(item: Alternative) -> tuple[str, str]:
    """Writes the predicted and the measured time of a leaf's part by itself."""
    times = (item.predicted_seconds, item.measured_seconds)
    predicted, measured = ("" if s is None else duration(s) for s in times)
    return predicted, measured


def _rendered(rows: Table) -> str:
    """Renders a table the same way on every terminal."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=_WIDTH,
        no_color=True,
        highlight=False,
        markup=False,
        legacy_windows=False,
        force_terminal=False,
    )
    console.print(rows)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _rules(layer: Layer) -> tuple[str, ...]:
    """Names the rules of a leaf's prefixes and uses, in the order of the uses."""
    uses = [stack.first for stack in layer.stacks]
    return tuple(
        dict.fromkeys(name for use in uses for name in (*use.prefix, use.rule))
    )
