"""Whether to cut a model at a bottleneck narrower than its outputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from ntkplan.errors import MemoryLimitError
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import PlanCost
from ntkplan.planner.candidates import Priced
from ntkplan.planner.collector import collector_paused
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.study import Study
from ntkplan.planner.uncut import Chosen, choose_uncut
from ntkplan.rules.work.loops import LOOPS
from ntkplan.trace.bottlenecks import (
    Bottleneck,
    bottlenecks,
    cut_layer,
    upstream_model,
)
from ntkplan.trace.coverage import prove_covered
from ntkplan.trace.layers import Layering, find_layers

# A cut rests on more estimates than a plan without one, so it has to gain more than
# these are off by.
NEEDED_GAIN = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CutChosen:
    """What was chosen for a model that is cut.

    Attributes:
        cut: Where.
        hidden: The kernel of the values at the cut.
        tail: What lies after the cut, with the products at the cut.
        cost: Of the whole.
        limit_bytes: What it had to fit into.
        instead_of: The best without a cut, or None where nothing fits without one.
    """

    cut: Cut
    hidden: Chosen
    tail: Chosen
    cost: PlanCost
    limit_bytes: float
    instead_of: Chosen | None

    @property
    def gain(self) -> float | None:
        """How many times faster it is than the best without a cut, if there is one."""
        if self.instead_of is None:
            return None
        return self.instead_of.cost.seconds / self.cost.seconds

    @property
    def products(self) -> Priced:
        """The candidate that was chosen for the products at the cut."""
        return self.tail.decision.chosen[-1]


class Cut:
    """A bottleneck, and the model in front of it and behind it.

    Both are studied when they are first asked for.

    Attributes:
        bottleneck: Where the model is cut.
        layer: What stands for the leaves behind it.
    """

    def __init__(
        self,
        graph: KernelGraph,
        layering: Layering,
        study: Study,
        bottleneck: Bottleneck,
    ) -> None:
        self.bottleneck = bottleneck
        self.layer = cut_layer(layering.layers, bottleneck)
        self._graph, self._study, self._spec = graph, study, study.spec

    @functools.cached_property
    def layering(self) -> Layering:
        """The layers of the model whose outputs are the values at the cut."""
        whole_batch = self._spec.whole_batch
        layering = find_layers(
            upstream_model(self._graph, self.bottleneck, whole_batch=whole_batch)
        )
        prove_covered(layering)
        return layering

    @functools.cached_property
    def hidden(self) -> Study:
        """The kernel of the values at the cut, in full."""
        spec = KernelSpec(
            name="full",
            output_shape=(self.bottleneck.size,),
            full_axes=(0,),
            trace_axes=(),
            diagonal_axes=(),
            matched=self._spec.matched,
            whole_batch=self._spec.whole_batch,
        )
        layers = [layer for layer in self.layering.layers if not layer.idle]
        return Study(self.layering.graph, layers, spec, fixed_outputs=True)

    @functools.cached_property
    def tail(self) -> Study:
        """The kernel of the outputs, of the leaves that are not behind the cut."""
        layers = [
            layer
            for layer in self._study.layers
            if layer.leaf.path not in self.bottleneck.paths
        ]
        return self._study.variant(layers, cut=self.layer)

    @functools.cached_property
    def has_loop(self) -> bool:
        """Whether a loop stands before the cut; compilers do not merge equal ones."""
        equations = self.layering.graph.body.equations
        return any(item.primitive in LOOPS for item in equations)


def find_cuts(
    graph: KernelGraph, layering: Layering, study: Study, request: MethodRequest
) -> tuple[Cut, ...]:
    """Finds the cuts of a model that may pay; none where one method is asked for.

    Args:
        graph: The model of one example, as it was traced.
        layering: Its layers.
        study: Those that are not idle, and the kernel.
        request: The methods asked for.
    """
    if not request.leaves_choice(layer.leaf.path for layer in study.layers):
        return ()
    return tuple(
        Cut(graph, layering, study, bottleneck)
        for bottleneck in bottlenecks(graph, study.layers, study.spec.n_basis)
    )


@collector_paused()
def choose_best(
    problem: Problem,
    cuts: Sequence[Cut],
    request: MethodRequest,
    limit_bytes: float,
) -> Chosen | CutChosen:
    """Chooses the cheapest that fits the memory limit, without a cut or with one.

    Args:
        problem: The kernel's sizes; its study is of the model without a cut.
        cuts: Where the model may be cut.
        request: The methods asked for.
        limit_bytes: What the kernel has to fit into.

    Raises:
        MemoryLimitError: Nothing fits, with a cut or without one; with the least that
            would.
    """
    refused: list[MemoryLimitError] = []
    whole: Chosen | None = None
    try:
        whole = choose_uncut(problem, request, limit_bytes)
    except MemoryLimitError as error:
        refused.append(error)
    best: CutChosen | None = None
    for cut in cuts:
        if whole is not None and not _may_gain(cut, whole):
            continue
        try:
            found = _decide(cut, problem, request, limit_bytes, whole)
        except MemoryLimitError as error:
            refused.append(error)
            continue
        if best is None or found.cost.seconds < best.cost.seconds:
            best = found
    if best is not None and (best.gain is None or best.gain >= NEEDED_GAIN):
        return best
    if whole is None:
        raise min(refused, key=lambda error: error.least_bytes)
    return whole


def _may_gain(cut: Cut, whole: Chosen) -> bool:
    """Says whether a cut could be faster, before what lies behind it is studied.

    The products at the cut are taken at the highest rate of the device. Behind the cut
    all is taken to fall with the number of values, and what a leaf costs in a kernel of
    all pairs of outputs with their square. After it leaves that are tapped without a
    cut are tapped with one.
    """
    problem, cost = whole.problem, whole.decision.cost
    spec, size = problem.spec, cut.bottleneck.size
    pairs = problem.n1 if spec.matched else problem.n1 * problem.n2
    flops = 2 * pairs * spec.n_basis * size * (size + spec.n_full)
    products_s = flops / max(rate.peak_flops_per_s for rate in problem.profile.rates)
    behind_s, taps = 0.0, [cut.bottleneck.variable]
    for layer, item, own in zip(
        whole.layers, whole.decision.chosen, whole.decision.own, strict=True
    ):
        if layer.leaf.path in cut.bottleneck.paths:
            behind_s += whole.decision.n_tiles * own.seconds
        elif not item.pushed:
            taps += item.candidate.layer_of(layer).taps
    study, ratio = problem.study, size / spec.n_basis
    after_s = problem.pass_price(
        study.sweep(study.active(taps)), n=problem.n_points, columns=spec.n_basis
    ).seconds
    fewer = ratio**2 if spec.n_full == spec.n_basis else ratio
    at_least_s = products_s + after_s + behind_s * min(fewer, 1.0)
    kept_s = cost.seconds - behind_s - cost.sweep_seconds - cost.push_seconds
    return (kept_s + at_least_s) * NEEDED_GAIN <= cost.seconds


def _decide(
    cut: Cut,
    problem: Problem,
    request: MethodRequest,
    limit_bytes: float,
    whole: Chosen | None,
) -> CutChosen:
    """Chooses candidates before and after a cut.

    Raises:
        MemoryLimitError: They do not fit.
    """
    held_bytes = _held_bytes(cut, problem)
    hidden = choose_uncut(
        dataclasses.replace(problem, study=cut.hidden), request, limit_bytes
    )
    try:
        tail = choose_uncut(
            dataclasses.replace(problem, study=cut.tail),
            request,
            limit_bytes - held_bytes,
        )
    except MemoryLimitError as error:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=error.least_bytes + held_bytes
        ) from None
    return joined(cut, hidden, tail, limit_bytes, whole)


def joined(
    cut: Cut,
    hidden: Chosen,
    tail: Chosen,
    limit_bytes: float,
    instead_of: Chosen | None,
) -> CutChosen:
    """Joins the choices before and after a cut.

    Args:
        cut: Where.
        hidden: The kernel of the values at the cut.
        tail: What lies after the cut, with the products at the cut.
        limit_bytes: What the kernel has to fit into.
        instead_of: The best without a cut, or None where nothing fits without one.
    """
    held_bytes = _held_bytes(cut, hidden.problem)
    return CutChosen(
        cut=cut,
        hidden=hidden,
        tail=tail,
        cost=_cost(cut, hidden, tail, held_bytes, limit_bytes),
        limit_bytes=limit_bytes,
        instead_of=instead_of,
    )


def _held_bytes(cut: Cut, problem: Problem) -> int:
    """Returns the size of the kernel of the values at a cut."""
    pairs = problem.n1 if problem.spec.matched else problem.n1 * problem.n2
    return pairs * cut.bottleneck.size**2 * cut.hidden.itemsize


def _cost(
    cut: Cut, hidden: Chosen, tail: Chosen, held_bytes: float, limit_bytes: float
) -> PlanCost:
    """Adds up both parts; the forward pass before the cut is made once."""
    first, second = hidden.decision.cost, tail.decision.cost
    twice = Price() if cut.has_loop else hidden.decision.shared.forward
    call_s = tail.problem.profile.launch.call_overhead_s
    both = PlanCost.sum_of((first, second))
    return dataclasses.replace(
        both,
        seconds=both.seconds - call_s - twice.seconds,
        forward_seconds=both.forward_seconds - twice.seconds,
        flops=both.flops - twice.flops,
        bytes_moved=both.bytes_moved - twice.bytes_moved,
        peak_bytes=max(first.peak_bytes, second.peak_bytes + held_bytes),
        memory_limit_bytes=limit_bytes,
    )
