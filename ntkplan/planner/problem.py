"""What is asked of the planner: sizes, a device, a precision."""

from __future__ import annotations

import dataclasses

from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.work import Work
from ntkplan.ir.kernel import KernelSpec
from ntkplan.planner.study import Study


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
    """

    study: Study
    n1: int
    n2: int
    symmetric: bool
    profile: DeviceProfile
    precision: str | None
    outputs: int | None = None

    @property
    def n_basis(self) -> int:
        """Vectors of the output basis that are computed at a time."""
        return self.outputs or self.spec.n_basis

    @property
    def spec(self) -> KernelSpec:
        """The kernel."""
        return self.study.spec

    @property
    def n_points(self) -> int:
        """Examples at which the model is evaluated."""
        return self.n1 if self.symmetric else self.n1 + self.n2

    def seconds(self, work: Work) -> float:
        """Prices numeric work on the problem's device."""
        return seconds(
            work, self.profile, dtype=self.study.dtype, precision=self.precision
        )
