"""The axis rules of all families in one table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ntkplan._jax import Primitive, primitives
from ntkplan.errors import InternalError
from ntkplan.ir.equation import Equation
from ntkplan.trace.axis_rules import (
    contractions,
    elementwise,
    indexing,
    linear_algebra,
    random,
    reductions,
    structure,
)
from ntkplan.trace.axis_rules.factor import AxisRule, Factor

# (equation, count) -> the factors of `count` along which the output is constant,
# whatever the operands are.
ConstantAxes = Callable[[Equation, int], tuple[Factor, ...]]


def assemble(
    families: Iterable[list[tuple[Primitive, AxisRule]]],
) -> Mapping[Primitive, AxisRule]:
    """Joins the rules of several families.

    Raises:
        InternalError: A primitive has two rules.
    """
    table: dict[Primitive, AxisRule] = {}
    for family in families:
        for primitive, rule in family:
            if primitive in table:
                raise InternalError(f"two axis rules for `{primitive.name}`")
            table[primitive] = rule
    return MappingProxyType(table)


@functools.cache
def axis_rules() -> Mapping[Primitive, AxisRule]:
    """Returns the rule of every primitive that has one."""
    return assemble(
        (
            elementwise.rules(),
            structure.rules(),
            reductions.rules(),
            contractions.rules(),
            indexing.rules(),
            linear_algebra.rules(),
            random.rules(),
        )
    )


@functools.cache
def constant_axes() -> Mapping[Primitive, ConstantAxes]:
    """Returns, for primitives that make constant axes, which ones they make."""
    return MappingProxyType(
        {
            primitives.broadcast_in_dim_p: structure.axes_from_broadcast,
            primitives.iota_p: structure.axes_from_iota,
        }
    )
