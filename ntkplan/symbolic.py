"""The work of a plan as formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

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
        cut: Work of the products at a cut.
    """

    layers: Mapping[str, Work]
    contractions: Work
    forward: Work
    sweep: Work
    push: Work
    cut: Work = dataclasses.field(default_factory=Work)

    @property
    def total(self) -> Work:
        """All of it, done once: what `plan.cost` counts where nothing is in tiles.

        What is alive at once is no sum of parts and is left open: `peak_bytes` is 0,
        and `plan.cost.peak_bytes` has the number.
        """
        return joined((self.forward, self.sweep, self.push, self.contractions))

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
