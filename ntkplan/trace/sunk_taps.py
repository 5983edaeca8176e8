"""Where a tap may stand: as far on as its cotangent is a number times the first one.

Sums pass a cotangent on, and a scaling multiplies it. A matrix product and the bias
that is added to it then share one tap, scaled or not.
"""

from __future__ import annotations

import dataclasses

from ntkplan._jax import Var, array_spec, primitives
from ntkplan.ir.graph import Flow
from ntkplan.trace.constant_slopes import constant_slope

_SUMS = frozenset({primitives.add_p, primitives.add_jaxvals_p, primitives.sub_p})
_SCALINGS = frozenset({primitives.mul_p, primitives.div_p, primitives.neg_p})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A place for a tap.

    Attributes:
        tap: The variable to whose value the tap is added.
        factor: What the cotangent there is multiplied by on its way to the first place.
    """

    tap: Var
    factor: float = 1.0


def sunk(flow: Flow, variable: Var) -> tuple[Place, Place]:
    """Moves a tap forward as long as one equation alone reads what is tapped.

    Args:
        flow: The body that it is in.
        variable: What is tapped first.

    Returns:
        The last place before any scaling, and the last of all that follows a sum:
        after a scaling alone there is no other tap to share.
    """
    place = unscaled = best = Place(tap=variable)
    scaled = False
    while True:
        consumers = flow.consumers(place.tap)
        if len(consumers) != 1 or flow.is_output(place.tap):
            return unscaled, best
        ((number, operand),) = consumers
        primitive = flow.body.equations[number].primitive
        if primitive not in _SUMS and primitive not in _SCALINGS:
            return unscaled, best
        slope = constant_slope(flow, number, operand)
        (result,) = flow.body.equations[number].outputs
        if slope is None or array_spec(result) != array_spec(place.tap):
            return unscaled, best
        place = Place(tap=result, factor=place.factor * slope)
        scaled = scaled or slope != 1.0
        if not scaled:
            unscaled = place
        if primitive in _SUMS:
            best = place
