"""The work of a plan as formulas."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Work, joined
from ntkplan.planner.explain import formulas_table


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Symbolic:
    """Work as sympy formulas in `n1`, `n2` and `n_outputs`.

    Attributes:
        layers: Work of every leaf's own part, by path, as if it were alone. What a
            pushed leaf takes is in `push`.
        contractions: Work of these parts together, and of the products at a cut:
            statements that several have in common are in it once.
        forward: Work of the forward passes.
        sweep: Work of the backward sweep.
        push: Work of the push forward.
        peak_of: Makes the formula of the whole kernel's peak, in bytes.
        cut: Work of the products at a cut.
    """

    layers: Mapping[str, Work]
    contractions: Work
    forward: Work
    sweep: Work
    push: Work
    peak_of: Callable[[], Size]
    cut: Work = dataclasses.field(default_factory=Work)

    @functools.cached_property
    def total(self) -> Work:
        """All of it, done once: what `plan.cost` counts where nothing is in tiles.

        `peak_bytes` is what the whole kernel has alive at once, in the plan's tiles and
        halves: the largest of what is alive after the sweep, in each leaf's turn and at
        the end.
        """
        made = joined((self.forward, self.sweep, self.push, self.contractions))
        return dataclasses.replace(made, peak_bytes=self.peak_of())

    def __str__(self) -> str:
        """Returns a table of the formulas, leaf by leaf."""
        passes = {
            "contractions": self.contractions,
            "forward": self.forward,
            "sweep": self.sweep,
            "push": self.push,
            "total": self.total,
        }
        return formulas_table(self.layers, passes)
