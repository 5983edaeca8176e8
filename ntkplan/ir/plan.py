"""Records of a plan: what was chosen for every leaf, and its estimated cost."""

from __future__ import annotations

import dataclasses


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
    """

    method: str
    order: str
    seconds: float
    flops: float
    bytes_moved: float
    peak_bytes: float
    feasible: bool


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
class PlanCost:
    """What the whole kernel is estimated to cost.

    Attributes:
        seconds: All of the below.
        forward_seconds: The model's forward pass, on every side that is needed.
        sweep_seconds: The backward sweep that all tapped leaves share.
        contraction_seconds: The leaves' own parts.
        push_seconds: The NTK-vector products that all pushed leaves share.
        flops: Floating-point operations.
        bytes_moved: Bytes read and written.
        peak_bytes: Most bytes alive at once.
        memory_limit_bytes: What the plan had to fit into.
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
