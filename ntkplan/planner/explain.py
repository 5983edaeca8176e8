"""A plan in words: records for every leaf, and the table that `print(plan)` shows."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Container, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from ntkplan.cost.profile import DeviceProfile
from ntkplan.errors import readable_bytes
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import Alternative, LayerPlan, PlanCost
from ntkplan.ir.program import Tiling
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Method
from ntkplan.methods.sharing import Key
from ntkplan.planner.candidates import Priced
from ntkplan.planner.choose import Decision
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
    computed: set[Key | None] = set()
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

    def record(self, item: Priced, computed: Container[Key | None]) -> Alternative:
        parts = item.own(computed)
        return Alternative(
            method=item.candidate.method.value,
            order=item.candidate.order,
            seconds=self.push_share_s
            if item.pushed
            else self.n_tiles * sum(part.seconds for part in parts),
            flops=self.n_tiles * sum(part.flops for part in parts),
            bytes_moved=self.n_tiles * sum(part.bytes_moved for part in parts),
            peak_bytes=item.peak_bytes,
            feasible=self.resident_bytes + item.peak_bytes <= self.limit_bytes,
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
    computed: Container[Key | None],
) -> LayerPlan:
    record = recorder.record(chosen, computed)
    others = [
        recorder.record(item, computed)
        for item in items
        if item is not chosen and item.allowed and not item.pushed
    ]
    runner_up = min(others, key=lambda item: item.seconds, default=None)
    alternatives = (recorder.record(item, computed) for item in items)
    shares = any(key in computed for key in chosen.keys)
    return LayerPlan(
        path=layer.leaf.path,
        shape=layer.leaf.shape,
        rules=_rules(layer),
        n_uses=sum(len(stack.uses) for stack in layer.stacks),
        chosen=record,
        runner_up=runner_up,
        why=_why(layer, record, runner_up, request, shares=shares),
        alternatives=tuple(sorted(alternatives, key=lambda item: item.seconds)),
    )


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
            duration(layer.chosen.seconds),
            layer.why,
        )
    lines = [headline, "", _rendered(rows)]
    lines += ["", *totals(cost), device_line(profile), *notes]
    return "\n".join(lines)


def _runner_up(alternative: Alternative | None) -> str:
    if alternative is None:
        return "none"
    return f"{alternative.method} {alternative.order}, {duration(alternative.seconds)}"


def totals(cost: PlanCost) -> list[str]:
    """Writes the totals of a plan."""
    return [
        f"total {duration(cost.seconds)}: forward {duration(cost.forward_seconds)}, "
        f"sweep {duration(cost.sweep_seconds)}, contractions "
        f"{duration(cost.contraction_seconds)}, push {duration(cost.push_seconds)}",
        f"total {quantity(cost.flops)}flop, {readable_bytes(cost.bytes_moved)} moved, "
        f"peak {readable_bytes(cost.peak_bytes)} of at most "
        f"{readable_bytes(cost.memory_limit_bytes)}",
    ]


def tiling_lines(
    tiling: Tiling | None, spec: KernelSpec, limit_bytes: float
) -> tuple[str, ...]:
    """Says how a kernel is computed tile by tile, and why."""
    if tiling is None:
        return ()
    if spec.matched:
        text = f"{tiling.rows} pairs of examples at a time"
    else:
        text = f"in tiles of {tiling.rows} x {tiling.columns} examples"
    if tiling.outputs is not None:
        text += f" and {tiling.outputs} outputs"
    text += f", to fit {readable_bytes(limit_bytes)}"
    if spec.matched:
        return (text,)
    kept = (
        "kept for all examples of x2"
        if tiling.keeps
        else "computed again for every row of tiles"
    )
    return (f"{text}; activations and cotangents are {kept}",)


def device_line(profile: DeviceProfile) -> str:
    """Says which device the figures are for and where its rates come from."""
    provenance = profile.provenance
    return (
        f"device {profile.name} ({profile.device_kind}), rates {provenance.origin} "
        f"{provenance.date}"
    )


def comments(layer: LayerPlan) -> tuple[str, ...]:
    """Writes what the emitted source says above a leaf's block."""
    shape = "x".join(map(str, layer.shape)) or "scalar"
    first = f"{layer.path or 'params'} [{shape}]: {layer.method}, {layer.order}"
    chosen = layer.chosen
    if layer.method == Method.NTK_VECTOR_PRODUCTS.value:
        return (first,)
    return (
        f"{first}; {quantity(chosen.flops)}flop, "
        f"{readable_bytes(chosen.bytes_moved)}, {duration(chosen.seconds)}",
    )


def quantity(count: float) -> str:
    """Returns a count with an SI prefix.

    Example:
        >>> quantity(2_500_000)
        '2.5 M'
    """
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count:.0f} "


def duration(seconds: float) -> str:
    """Returns a time as people write it.

    Example:
        >>> duration(0.0025)
        '2.5 ms'
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns" if seconds > 0 else "0 s"


def alternatives_table(layer: LayerPlan) -> str:
    """Lists every candidate of a leaf, cheapest first."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", "method", "order"):
        rows.add_column(name)
    for name in ("flops", "bytes", "peak", "seconds"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("fits")
    for item in layer.alternatives:
        rows.add_row(
            "chosen" if item == layer.chosen else "",
            item.method,
            item.order,
            quantity(item.flops),
            readable_bytes(item.bytes_moved),
            readable_bytes(item.peak_bytes),
            duration(item.seconds),
            "yes" if item.feasible else "no",
        )
    return f"{layer.path}: {layer.why}\n\n{_rendered(rows)}"


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
