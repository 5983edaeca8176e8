"""What is asked of the planner: sizes, a device, a precision."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile, Platform
from ntkplan.cost.work import Work
from ntkplan.ir.kernel import KernelSpec
from ntkplan.planner.prices import Price
from ntkplan.planner.study import Study
from ntkplan.rules.equation_work import Counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """How large the kernel is, and on what it runs.

    Attributes:
        study: The model, and what there is to choose from.
        n1: Examples in `x1`.
        n2: Examples in `x2`; as many as in `x1` where it is absent.
        symmetric: Whether `x2` is absent.
        profile: The device.
        precision: Name of the precision of every contraction, or None.
        outputs: Vectors of the output basis at a time, or None for all of them.
        prices: What passes cost that were priced before, see `pass_price`.
    """

    study: Study
    n1: int
    n2: int
    symmetric: bool
    profile: DeviceProfile
    precision: str | None
    outputs: int | None = None
    prices: dict[Any, Price] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def n_basis(self) -> int:
        """Vectors of the output basis that are computed at a time."""
        return self.outputs or self.spec.n_basis

    @property
    def spec(self) -> KernelSpec:
        """The kernel."""
        return self.study.spec

    @property
    def convolves_on_cpu(self) -> bool:
        """Whether a CPU computes convolutions, each of which takes all cores."""
        return self.profile.platform is Platform.CPU and self.study.convolves

    @property
    def computes_in_turn(self) -> bool:
        """Whether leaves may take turns even where memory would do for all at once.

        A GPU or TPU runs one operation after another, in an order that its compiler
        chooses to hold little. A CPU's convolutions use all cores by themselves:
        nothing is gained by running others beside them, and what these hold is larger
        than the caches.
        """
        return self.profile.platform is not Platform.CPU or self.convolves_on_cpu

    @property
    def n_points(self) -> int:
        """Examples at which the model is evaluated."""
        return self.n1 if self.symmetric else self.n1 + self.n2

    def seconds(self, work: Work) -> float:
        """Prices numeric work on the problem's device."""
        return seconds(
            work, self.profile, dtype=self.study.dtype, precision=self.precision
        )

    def price(self, work: Work) -> Price:
        """Prices numeric work on the problem's device, with its counts."""
        moved = cast(float, work.bytes_read) + cast(float, work.bytes_written)
        return Price(
            seconds=self.seconds(work),
            flops=float(cast(float, work.flops)),
            bytes_moved=float(moved),
        )

    def pass_price(
        self,
        counted: Counted,
        *,
        n: int,
        columns: int = 1,
        times: int = 1,
        in_loop: bool = False,
        alone: bool = False,
    ) -> Price:
        """Prices a pass over the model; divisions of the leaves have many in common.

        Args:
            counted: The pass.
            n: Examples.
            columns: Tangents or cotangents of each.
            times: How often it is made, over the same memory.
            in_loop: Whether a loop makes it so often.
            alone: Whether no more is alive at once than the pass itself needs, so that
                it is known how much of its memory is fresh.
        """
        key = (counted, self.study.dtype, n, columns, times, in_loop, alone)
        if key not in self.prices:
            work = counted.at(n=n, columns=columns, times=times, in_loop=in_loop)
            if not alone:
                work = Work(operations=work.operations)
            self.prices[key] = self.price(work)
        return self.prices[key]
