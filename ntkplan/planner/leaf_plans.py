"""Records of what was chosen for every leaf, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set

from ntkplan.ir.plan import Alternative, LayerPlan
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Method
from ntkplan.planner.candidates import Priced
from ntkplan.planner.division import Decision
from ntkplan.planner.request import MethodRequest


def layer_plans(
    layers: Sequence[Layer],
    priced: Sequence[tuple[Priced, ...]],
    decision: Decision,
    request: MethodRequest,
    limit_bytes: float,
    unlimited: Sequence[Priced] | None = None,
) -> tuple[LayerPlan, ...]:
    """Records what was chosen for every leaf, and why.

    A leaf's figures are what it adds, given the leaves before it: what they compute
    anyway costs it nothing.

    Args:
        layers: The layers.
        priced: The candidates of every layer.
        decision: What was chosen.
        request: The methods asked for.
        limit_bytes: What the kernel may need at once.
        unlimited: What would be chosen if memory had no limit, where that does not fit.
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
    without = decision.chosen if unlimited is None else unlimited
    for number, (layer, items, chosen, free) in enumerate(
        zip(layers, priced, decision.chosen, without, strict=True)
    ):
        decided = _Decided(
            request=request,
            unlimited="" if _is_same(free, chosen) else _named(free),
            shares=any(key in computed for key in chosen.keys),
            is_alike=number in decision.made_alike,
            bias_of=layers[decision.biases[number]].leaf.path
            if number in decision.biases
            else "",
        )
        plans.append(_layer_plan(layer, items, chosen, recorder, computed, decided))
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
            else self.n_tiles * item.seconds / item.correction,
            measured_seconds=None
            if item.measured_s is None
            else self.n_tiles * item.measured_s,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Decided:
    """What decided for a leaf, beside its own time.

    Attributes:
        request: The methods asked for.
        unlimited: What would be taken if memory had no limit, in words, where that is
            something else.
        shares: Whether leaves above have products that it needs.
        is_alike: Whether it has the order of other leaves.
        bias_of: The leaf with which it is computed, as its bias, or empty.
    """

    request: MethodRequest
    unlimited: str
    shares: bool
    is_alike: bool
    bias_of: str = ""


def _is_same(one: Priced, other: Priced) -> bool:
    return _named(one) == _named(other) or one.keys == other.keys != frozenset()


def _named(item: Priced) -> str:
    return f"{item.candidate.method.value} {item.candidate.order}"


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
    recorder: _Recorder,
    computed: Set[int | None],
    decided: _Decided,
) -> LayerPlan:
    record = recorder.record(chosen, computed)
    alternatives = [recorder.record(item, computed) for item in items]
    others = [
        made
        for made, item in zip(alternatives, items, strict=True)
        if item is not chosen and item.allowed
    ]
    runner_up = min(others, key=_nearness, default=None)
    return LayerPlan(
        path=layer.leaf.path,
        shape=layer.leaf.shape,
        rules=_rules(layer),
        n_uses=sum(len(stack.uses) for stack in layer.stacks),
        chosen=record,
        runner_up=runner_up,
        why=_why(layer, record, runner_up, decided),
        alternatives=tuple(sorted(alternatives, key=rank)),
    )


def rank(item: Alternative) -> tuple[bool, float]:
    """Puts the cheapest first; what has no time of its own is not the cheapest."""
    return is_pushed(item) and not item.seconds, item.seconds


def is_pushed(item: Alternative) -> bool:
    """Says whether a candidate is pushed, and so has no time of its own."""
    return item.method == Method.NTK_VECTOR_PRODUCTS.value


def _nearness(item: Alternative) -> tuple[bool, float]:
    """Puts what has a time of its own first, the quickest before the others."""
    return is_pushed(item), item.seconds


def _why(
    layer: Layer,
    chosen: Alternative,
    runner_up: Alternative | None,
    decided: _Decided,
) -> str:
    parts: list[str] = []
    allowed, forced = decided.request.of(layer.leaf.path)
    if layer.opaque is not None:
        parts.append(f"opaque: {layer.opaque}")
    if forced:
        parts.append("forced by methods=")
    elif len(allowed) < len(Method):
        parts.append(f"methods= allows {', '.join(allowed)}")
    # What was measured was chosen by its time as well.
    if decided.unlimited and chosen.measured_seconds is None:
        name = decided.unlimited
        if runner_up is not None and name == f"{runner_up.method} {runner_up.order}":
            name = "the runner-up"
        parts.append(f"to fit the memory limit, without it {name}")
    if decided.bias_of:
        how = f"computed with {decided.bias_of}, as a weight of ones"
        return "; ".join((*parts, f"{how}; its figures are those apart"))
    if decided.shares:
        parts.append("shares products with leaves above")
    if is_pushed(chosen):
        parts.append("shares one push forward with the other pushed leaves")
    elif decided.is_alike:
        parts.append("the order of other leaves; of the whole it costs next to nothing")
    elif runner_up is not None and is_pushed(runner_up):
        parts.append("a push forward would gain too little or nothing")
    elif runner_up is not None and chosen.seconds > 0:
        ratio = runner_up.seconds / chosen.seconds
        if ratio >= 1.005:
            parts.append(f"{ratio:.3g} times faster than the runner-up")
        elif ratio <= 0.995 and not decided.unlimited:
            parts.append(_why_slower(chosen, runner_up))
        elif ratio > 0.995:
            parts.append("as fast as the runner-up")
    return "; ".join(parts) or "the only candidate"


def _why_slower(chosen: Alternative, runner_up: Alternative) -> str:
    if not runner_up.feasible:
        return "the faster runner-up does not fit the memory limit"
    if chosen.measured_seconds is not None:
        return "with it the kernel as a whole is faster, as predicted or measured"
    return "leaves below share its products, so that all together are faster"


def _rules(layer: Layer) -> tuple[str, ...]:
    """Names the rules of a leaf's prefixes and uses, in the order of the uses."""
    uses = [stack.first for stack in layer.stacks]
    return tuple(
        dict.fromkeys(name for use in uses for name in (*use.prefix, use.rule))
    )
