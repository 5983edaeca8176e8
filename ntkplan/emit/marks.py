"""What is added to the variables of a function, and what they are to be called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ntkplan._jax import Var, array_shape
from ntkplan.emit.draft import Added
from ntkplan.ir.program import Cotangent, Program, Record, Tap

_Entry = TypeVar("_Entry", Tap, Record, Cotangent)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks:
    """How one function differs from the model's own equations.

    Attributes:
        hints: Wanted names of variables.
        after: What is added to variables.
        inside: Python text for the taps that loops and branches read.
        records: What the function returns beside its values.
    """

    hints: Mapping[Var, str]
    after: Mapping[Var, Added]
    inside: Mapping[Var, str]
    records: tuple[Record, ...]

    @property
    def recorded(self) -> tuple[Var, ...]:
        """The variables that are recorded, each once."""
        return tuple(
            dict.fromkeys(
                variable for record in self.records for variable in record.variables
            )
        )


def marks_of(program: Program, part: str) -> Marks:
    """Returns the marks of a part's function, or with an empty key of `forward`."""
    leaves = {leaf.variable for leaf in program.graph.leaves}
    in_loops = frozenset(program.graph.taps)
    hints: dict[Var, str] = {}
    after: dict[Var, Added] = {}
    inside: dict[Var, str] = {}
    for source, taps in (("taps", program.taps), ("shifts", program.shifts)):
        for tap in own(taps, part):
            if tap.variable in in_loops:
                inside[tap.variable] = _tap_text(tap, source)
                continue
            after[tap.variable] = Added(
                text=_tap_text(tap, source, added=True),
                ordered=tap.variable in program.ordered,
            )
            shifted = tap.variable in leaves
            hints[tap.variable] = tap.key if shifted else f"{tap.key}_out"
    records = own(program.records, part)
    factors = () if part else program.factors
    for record in (*records, *factors):
        for variable in record.variables:
            hints.setdefault(variable, record.key)
    return Marks(hints=hints, after=after, inside=inside, records=(*records, *factors))


def own(entries: Sequence[_Entry], part: str) -> tuple[_Entry, ...]:
    """Returns the entries of a table that belong to a part."""
    return tuple(entry for entry in entries if entry.part == part)


def _tap_text(tap: Tap, source: str, *, added: bool = False) -> str:
    """Returns a tap in its variable's shape, or one that a sum stretches to it."""
    text = f'{source}["{tap.key}"]'
    shape = tuple(array_shape(tap.variable))
    missing = len(shape) - len(tap.shape)
    if shape == tap.shape or (added and shape == (1,) * missing + tap.shape):
        return text
    if shape == (1, *tap.shape):
        return f"{text}[None]"
    return f"{text}.reshape({', '.join(map(str, shape))})"
