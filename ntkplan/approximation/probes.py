"""How far an approximate kernel is from the exact one, on a few examples."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from ntkplan._jax import is_traced
from ntkplan.errors import ConflictingOptionsError
from ntkplan.plans import Plan

MOST_PROBES = 6
"""Examples on which kernels are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """Examples on which kernels are compared.

    Attributes:
        params: The model's parameters.
        x: The examples.
        count: How many there are.
    """

    params: Any
    x: Any
    count: int

    def kernel(self, plan: Plan) -> numpy.ndarray:
        """Computes a plan's kernel of the probes."""
        with jax.ensure_compile_time_eval():
            planned = plan.plan_at(self.count, None)
            # A plan of matched pairs meets only itself without x2.
            values = planned.compile()(self.params, self.x)
        return numpy.asarray(values, "float64")


def choose_probes(params: Any, x1: Any, batch_axis: int, n1: int) -> Probes:
    """Takes a few examples of `x1`, evenly spread.

    Raises:
        ConflictingOptionsError: There are only shapes.
    """
    for name, tree in (("params", params), ("x1", x1)):
        if any(
            isinstance(leaf, jax.ShapeDtypeStruct) or is_traced(leaf)
            for leaf in jax.tree.leaves(tree)
        ):
            raise ConflictingOptionsError(
                what="tolerance= compares kernels on a few examples, and "
                f"{name} has no values, only shapes",
                hint="Give arrays, or leave tolerance= out",
            )
    count = min(n1, MOST_PROBES)
    chosen = numpy.linspace(0, n1 - 1, count).round().astype(int)
    x = jax.tree.map(lambda array: jnp.take(array, chosen, axis=batch_axis), x1)
    return Probes(params=params, x=x, count=count)


def relative_error(got: numpy.ndarray, wanted: numpy.ndarray) -> float:
    """Returns the Frobenius norm of the difference over that of what is wanted.

    Example:
        >>> float(relative_error(numpy.array([3.0, 1.0]), numpy.array([3.0, 0.0])))
        0.3333333333333333
    """
    return float(numpy.linalg.norm(got - wanted) / numpy.linalg.norm(wanted))
