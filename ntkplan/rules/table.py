"""The table of rules for uses, keyed by the primitive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax

from ntkplan._jax import Primitive, primitives
from ntkplan.errors import InternalError
from ntkplan.rules import convolution, lookups, products, sums
from ntkplan.rules.labelling import Labelling, UseRule
from ntkplan.rules.step import Step, is_real


def assemble(
    entries: Iterable[tuple[Primitive, UseRule]],
) -> Mapping[Primitive, UseRule]:
    """Makes a table; a primitive that is given twice is a bug."""
    table: dict[Primitive, UseRule] = {}
    for primitive, rule in entries:
        if primitive in table:
            raise InternalError(f"two rules for the primitive `{primitive}`")
        table[primitive] = rule
    return table


USE_RULES: Mapping[Primitive, UseRule] = assemble(
    (
        (primitives.dot_general_p, products.dot_general),
        (primitives.mul_p, products.multiply),
        (primitives.add_p, sums.add),
        (primitives.add_jaxvals_p, sums.add),
        (primitives.sub_p, sums.subtract),
        (primitives.conv_general_dilated_p, convolution.convolution),
        (primitives.concatenate_p, sums.concatenate),
        *(((jax.lax.stack_p, sums.stack),) if hasattr(jax.lax, "stack_p") else ()),
        (primitives.gather_p, lookups.gather),
        (primitives.dynamic_slice_p, lookups.dynamic_slice),
    )
)


def label(step: Step) -> Labelling | None:
    """Labels an equation in which a leaf meets data, or returns None.

    Entrywise functions without a rule of their own share one. There is none for
    complex values, whose cotangents are not those of two real ones.
    """
    if not is_real(step):
        return None
    return USE_RULES.get(step.equation.primitive, products.entrywise)(step)
