"""A kernel that is compiled for as many examples as were planned, or for more."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy

from ntkplan.compiling import jitted
from ntkplan.ir.plan import PlanCost


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SizedKernel:
    """A kernel function, and what it is compiled for.

    How large its arrays are is known up to the planned numbers of examples, so that
    options which depend on it are for no more.

    Attributes:
        function: The function.
        cost: What it is estimated to cost.
        n1: Examples in `x1` that were planned for.
        n2: Examples in `x2`, or None where it is absent.
        batch_axis: The example axis of every array of examples; None where their number
            is fixed.
    """

    function: Callable[..., Any]
    cost: PlanCost
    n1: int
    n2: int | None
    batch_axis: int | None

    def compiled(self, x1: Any, x2: Any = None) -> Any:
        """Returns the compiled function for so many examples.

        Args:
            x1: Examples, or their shapes.
            x2: Others, or None for `x1` itself.
        """
        return self._as_planned if self._is_planned(x1, x2) else self._for_more

    def _is_planned(self, x1: Any, x2: Any) -> bool:
        if self.batch_axis is None:
            return True
        first = _count(x1, self.batch_axis)
        if self.n2 is None:
            return x2 is None and first <= self.n1
        second = first if x2 is None else _count(x2, self.batch_axis)
        return first <= self.n1 and second <= self.n2

    @functools.cached_property
    def _as_planned(self) -> Any:
        return jitted(self.function, self.cost)

    @functools.cached_property
    def _for_more(self) -> Any:
        return jitted(self.function, dataclasses.replace(self.cost, largest_bytes=None))


def _count(x: Any, batch_axis: int) -> int:
    return numpy.shape(jax.tree.leaves(x)[0])[batch_axis]
