"""The rules of all families, in one table."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from ntkplan._jax import Primitive
from ntkplan.errors import InternalError
from ntkplan.rules.work import elementwise, movement, products, reductions, solvers
from ntkplan.rules.work.step import (
    TANGENT,
    Call,
    Fuses,
    Pass,
    Step,
    WorkRule,
    all_reads,
    results_bytes,
)

UNKNOWN_FLOPS_PER_ELEMENT = 100
"""What a primitive without a rule is assumed to do, for each element that it reads or
writes: more than any elementwise function."""


@functools.cache
def work_rules() -> Mapping[Primitive, WorkRule]:
    """Returns the rule of every primitive that has one, control flow apart.

    Raises:
        InternalError: Two families claim the same primitive.
    """
    table: dict[Primitive, WorkRule] = {}
    for family in (elementwise, products, reductions, movement, solvers):
        for primitive, rule in family.rules().items():
            if primitive in table:
                raise InternalError(f"two work rules for {primitive}", family.__name__)
            table[primitive] = rule
    return table


def rule_of(primitive: Primitive) -> WorkRule:
    """Returns the rule of a primitive, or that of one without a rule."""
    return work_rules().get(primitive, _UNKNOWN)


def _assumed(call: Call) -> tuple[Step, ...]:
    elements = sum(array.elements for array in (*call.inputs, *call.outputs))
    return (
        Pass(
            reads=all_reads(call),
            written_bytes=results_bytes(call),
            flops=UNKNOWN_FLOPS_PER_ELEMENT * max(1, elements),
            fuses=Fuses.NO,
        ),
    )


def _assumed_derivative(call: Call, operand: int) -> tuple[Step, ...]:
    elements = sum(array.elements for array in (*call.inputs, *call.outputs))
    tangent = (TANGENT, max(call.inputs[operand].nbytes, results_bytes(call)))
    return (
        Pass(
            reads=(tangent, *all_reads(call)),
            written_bytes=tangent[1],
            flops=2 * UNKNOWN_FLOPS_PER_ELEMENT * max(1, elements),
            fuses=Fuses.NO,
        ),
    )


_UNKNOWN = WorkRule(
    forward=_assumed, pull=_assumed_derivative, push=_assumed_derivative
)
