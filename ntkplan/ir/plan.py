"""Records of a plan: what was chosen for every leaf, and its estimated cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alternative:
    """A candidate for a leaf, priced.

    Attributes:
        method: Its name.
        order: The order of contraction.
        seconds: Estimated time of the leaf's own part.
        flops: Floating-point operations of the leaf's own part.
        bytes_moved: Bytes read and written.
        peak_bytes: Most bytes alive at once, for the leaf's own part.
        feasible: Whether it fits the memory limit.
        predicted_seconds: What the cost model alone says; None where `seconds` is that.
        measured_seconds: The time of the leaf's part if it shares nothing, where it was
            measured; of all tiles, where the kernel is computed tile by tile.
    """

    method: str
    order: str
    seconds: float
    flops: float
    bytes_moved: float
    peak_bytes: float
    feasible: bool
    predicted_seconds: float | None = None
    measured_seconds: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What was chosen for one leaf.

    Attributes:
        path: The leaf's place in `params`.
        shape: The leaf's shape.
        rules: Names of the rules that gave its labels; `opaque` where none did.
        n_uses: How many equations use the leaf.
        chosen: What was chosen.
        runner_up: The best of the others, or None where there is none.
        why: Why this and not that, in words.
        alternatives: Every candidate, cheapest first, the chosen one included.
    """

    path: str
    shape: tuple[int, ...]
    rules: tuple[str, ...]
    n_uses: int
    chosen: Alternative
    runner_up: Alternative | None
    why: str
    alternatives: tuple[Alternative, ...]

    @property
    def method(self) -> str:
        """The chosen method's name."""
        return self.chosen.method

    @property
    def order(self) -> str:
        """The chosen order of contraction."""
        return self.chosen.order


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeafFormulas:
    """What `plan.explain` adds to a leaf's figures.

    Attributes:
        candidates: Formulas of what the candidates' work counts, none of what is zero;
            by method and order, and by the name in `ntkplan.cost.work.Work`.
        push: What NTK-vector products take, in words; empty where the leaf cannot be
            pushed.
        push_fits: Whether these fit the memory limit.
        n_tiles: In how many tiles the leaf's part is computed; the formulas are of one.
    """

    candidates: Mapping[str, Mapping[str, str]]
    push: str = ""
    push_fits: bool = True
    n_tiles: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanCost:
    """What the whole kernel is estimated to cost.

    Attributes:
        seconds: All of the below, and the overhead of the call.
        forward_seconds: The model's forward pass, on every side that is needed.
        sweep_seconds: The backward sweep that all tapped leaves share.
        contraction_seconds: The leaves' own parts.
        push_seconds: The NTK-vector products that all pushed leaves share.
        flops: Floating-point operations.
        bytes_moved: Bytes read and written.
        peak_bytes: Most bytes alive at once.
        memory_limit_bytes: What the plan had to fit into.
        in_turn: Whether leaves take turns, because it fits only so or because less is
            held so and little lost: `Plan.compile` then asks the compiler to hold as
            little at once as it can.
        n_leaves: How many leaves it has, which says how much there is to compile.
        largest_bytes: Bytes of its largest array; None where it is in tiles.
    """

    seconds: float
    forward_seconds: float
    sweep_seconds: float
    contraction_seconds: float
    push_seconds: float
    flops: float
    bytes_moved: float
    peak_bytes: float
    memory_limit_bytes: float
    in_turn: bool = False
    n_leaves: int = 0
    largest_bytes: float | None = None

    @classmethod
    def sum_of(cls, costs: Sequence[PlanCost]) -> PlanCost:
        """Adds up the costs of kernels that are in memory together.

        What they had to fit into is what the first had to.

        Args:
            costs: One or more.
        """
        added = {
            field.name: sum(getattr(cost, field.name) for cost in costs)
            for field in dataclasses.fields(cls)
            if field.name not in ("memory_limit_bytes", "in_turn", "largest_bytes")
        }
        largest = [
            cost.largest_bytes for cost in costs if cost.largest_bytes is not None
        ]
        return cls(
            **added,
            memory_limit_bytes=costs[0].memory_limit_bytes,
            in_turn=any(cost.in_turn for cost in costs),
            largest_bytes=max(largest) if len(largest) == len(costs) else None,
        )

    @property
    def call_seconds(self) -> float:
        """What calling the kernel takes, whatever it computes."""
        parts = self.forward_seconds + self.sweep_seconds
        parts += self.contraction_seconds + self.push_seconds
        return max(0.0, self.seconds - parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedPlan:
    """A whole kernel that was considered for timing.

    Attributes:
        what: How it was chosen, in words.
        predicted_seconds: Its estimated time.
        measured_seconds: Its time, or None where it was not measured.
        why_not: Why it was not measured; empty where it was.
    """

    what: str
    predicted_seconds: float
    measured_seconds: float | None
    why_not: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """What was measured for a plan.

    Attributes:
        budget_s: Seconds that measuring was allowed to take.
        spent_s: Seconds that it took, compilation included.
        n_timed: Programs that were timed.
        n_cached: Timings that were read from the cache instead.
        plans: The whole kernels, the taken one first.
    """

    budget_s: float
    spent_s: float
    n_timed: int
    n_cached: int
    plans: tuple[TimedPlan, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A set of leaves that sum of logits might stand in for, on top of those before.

    Attributes:
        what: The leaves, in words.
        error: Relative error of the kernel on the probes, in the Frobenius norm.
        seconds: Estimated time of the kernel.
    """

    what: str
    error: float
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Approximation:
    """What sum of logits stands in for, with `tolerance=`.

    Attributes:
        tolerance: Largest relative error that is allowed.
        paths: The leaves that are approximated; none where nothing could be.
        error: Relative error of the kernel on the probes, in the Frobenius norm.
        n_probes: Examples on which it was compared with the exact kernel.
        exact_seconds: Estimated time of the exact kernel.
        seconds: Estimated time of this one.
        trials: What was compared.
        too_large: What would save time and leaves no room for the rest, in words.
    """

    tolerance: float
    paths: tuple[str, ...]
    error: float
    n_probes: int
    exact_seconds: float
    seconds: float
    trials: tuple[Trial, ...]
    too_large: tuple[str, ...] = ()
