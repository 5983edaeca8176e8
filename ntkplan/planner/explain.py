"""A plan in words, and the table that `print(plan)` shows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

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
from ntkplan.ir.quantities import counted, duration, quantity
from ntkplan.methods.candidate import Method

_WIDTH = 170


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
    parts = [f"{alternative.method} {alternative.order}"]
    if alternative.method != Method.NTK_VECTOR_PRODUCTS.value:
        parts.append(duration(alternative.seconds))
    if not alternative.feasible:
        parts.append("does not fit")
    return ", ".join(parts)


def _seconds(item: Alternative) -> str:
    """Writes a time, and whether it comes from a measurement."""
    measured = " measured" * (item.measured_seconds is not None)
    return duration(item.seconds) + measured


def tuning_notes(tuning: Tuning) -> list[str]:
    """Says what was measured for a plan, and what it showed."""
    if tuning.n_timed:
        first = (
            f"tuned: {counted(tuning.n_timed, 'program')} timed, "
            f"{counted(tuning.n_cached, 'timing')} from the cache; "
            f"{duration(tuning.spent_s)} of at most {duration(tuning.budget_s)} spent, "
            "compilation included"
        )
    elif not tuning.n_cached:
        first = "tuned: nothing was timed"
    else:
        timings = counted(tuning.n_cached, "timing")
        first = f"tuned: {timings}, all from the cache, none made"
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
    probes = counted(found.n_probes, "probe")
    if found.paths:
        saved = 1 - found.seconds / found.exact_seconds
        first += (
            f"sum of logits stands in for {', '.join(found.paths)}; relative error "
            f"{found.error:.3g} on {probes}; predicted "
            f"{duration(found.seconds)} in place of {duration(found.exact_seconds)}, "
            f"{saved:.0%} saved"
        )
    elif found.trials:
        first += f"all exact, no stand-in is close enough on {probes}"
    elif found.too_large:
        first += "all exact, no stand-in that would save time fits the memory limit"
    else:
        first += "all exact, no stand-in would save time"
    return [
        first,
        *(
            f"  tried {trial.what}: relative error {trial.error:.3g}, predicted "
            f"{duration(trial.seconds)}"
            for trial in found.trials
        ),
        *(
            f"  not tried {what}: with the rest it does not fit the memory limit, or "
            "only in a way that saves no time"
            for what in found.too_large
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
        )
    parts = [f"{layer.path}: {layer.why}", _rendered(rows)]
    alone = "Alone:"
    if formulas.n_tiles > 1:
        tiles = f"all {formulas.n_tiles} tiles"
        parts.insert(1, f"Flops, bytes and seconds are those of {tiles}, peaks of one.")
        alone = (
            "Alone, in one tile, whose rows, columns and outputs are n1, n2 and "
            "n_outputs:"
        )
    if formulas.push:
        parts.append(f"{formulas.push}.")
    return "\n\n".join([*parts, alone, _candidate_formulas(layer, formulas)])


def _candidate_formulas(layer: LayerPlan, formulas: LeafFormulas) -> str:
    """Writes the formulas of what every candidate of a leaf takes alone."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    rows.add_column("method and order", overflow="fold", max_width=60)
    rows.add_column("count", no_wrap=True)
    rows.add_column("formula", overflow="fold")
    for item in layer.alternatives:
        name = f"{item.method} {item.order}"
        counts = formulas.candidates.get(name, {})
        for number, (count, text) in enumerate(counts.items()):
            rows.add_row("" if number else name, count.replace("_", " "), text)
        rows.add_section()
    return _rendered(rows)


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
