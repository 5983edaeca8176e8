"""Sum of logits: one vector, ones / sqrt(O), in place of the output basis.

Mohamadi, Bae, Sutherland 2023, "A Fast, Well-Founded Approximation to the Empirical
Neural Tangent Kernel". It is exact for the kernel of (1 / sqrt O) sum_o f_o and an
approximation of any other, so it applies to that kernel alone.
"""

from __future__ import annotations

import dataclasses

from ntkplan.ir.use import Layer
from ntkplan.methods import jacobian_contraction, structured_derivatives
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns every contraction order over the one-vector basis."""
    if not frame.spec.sums_logits:
        return ()
    orders = (
        *structured_derivatives.candidates(layer, frame, itemsize),
        *jacobian_contraction.candidates(layer, frame, itemsize),
    )
    return tuple(
        dataclasses.replace(order, method=Method.SUM_OF_LOGITS) for order in orders
    )
