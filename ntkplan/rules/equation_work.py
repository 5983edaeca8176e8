"""What equations compute, for many examples at once."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

from ntkplan._jax import Primitive, Var, primitives, sub_jaxprs
from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Work
from ntkplan.ir.equation import Equation
from ntkplan.rules.work import passes
from ntkplan.rules.work.amount import NOTHING, Level, Scale, Tally
from ntkplan.rules.work.copies import copied_by_pull
from ntkplan.rules.work.flat import (
    CALLS,
    Flat,
    FlatEquation,
    flat_equations,
    levels_of,
)
from ntkplan.rules.work.fusion import Fused, Node, fuse, lives
from ntkplan.rules.work.linearized import Linearized, LinearizedCounts
from ntkplan.rules.work.loops import LOOPS, OF_UNKNOWN_LENGTH
from ntkplan.rules.work.table import work_rules

GUESSED = frozenset({"ffi_call", "io_callback", "pure_callback", "while"})
"""Names of primitives without a bound: they run what others wrote, or as often as data
say."""


def is_estimate(equation: Equation) -> bool:
    """Says whether what an equation computes can only be estimated."""
    return bool(estimated(equation))


def estimated(equation: Equation) -> frozenset[str]:
    """Returns the names of the primitives that make an equation's work an estimate.

    It may be the equation's own, or that of one inside of it.
    """
    return frozenset(_estimated(equation.primitive, equation.parameters))


def _is_counted(primitive: Primitive) -> bool:
    known = primitive in work_rules() or primitive in LOOPS or primitive in CALLS
    return known and primitive not in OF_UNKNOWN_LENGTH


def _estimated(primitive: Primitive, parameters: dict[str, Any]) -> Iterator[str]:
    if not _is_counted(primitive):
        yield primitive.name
    for _, closed in sub_jaxprs(parameters):
        for equation in closed.jaxpr.eqns:
            yield from _estimated(equation.primitive, equation.params)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """What a pass over equations does, for any number of examples and columns."""

    fused: Fused

    def at(
        self, *, n: Size, columns: Size = 1, times: Size = 1, in_loop: bool = False
    ) -> Work:
        """Returns the work for some numbers of examples and columns.

        Args:
            n: Examples, a number or a formula.
            columns: Tangents or cotangents of each example, likewise.
            times: How often the pass is made, over the same memory.
            in_loop: Whether a loop makes it so often.
        """
        scale = Scale(n=n, columns=columns)
        return Work(
            operations=tuple(
                [
                    scale.operation(tally, times=times, in_loop=in_loop)
                    for tally in self._merged
                ]
            ),
            peak_bytes=scale.size(self.fused.peak),
        )

    @functools.cached_property
    def _merged(self) -> tuple[Tally, ...]:
        return _merged(self.fused.tallies)


def count_forward(
    equations: Sequence[Equation],
    *,
    itemsize: int | None = None,
    shared: Collection[Var] | None = None,
) -> Counted:
    """Counts evaluating the equations.

    Elementwise passes are joined as a compiler joins them; what is computed from
    shared values alone is counted once.

    Args:
        equations: Straight-line code of one example, in order.
        itemsize: Bytes of a floating-point number; None is as traced.
        shared: Variables defined elsewhere that are the same for every example, the
            parameters above all. None guesses: a variable defined elsewhere is a
            parameter where it meets data in a product, the left operand of a product
            of two such is data, and all else is counted for every example.
    """
    flat = flat_equations(equations, itemsize=itemsize)
    floor = Level.EXAMPLE if shared is None else Level.SHARED
    return Counted(fused=passes.forward(flat, _levels(flat, shared), floor=floor))


def count_sweep(
    equations: Sequence[Equation],
    active: Collection[Var],
    *,
    itemsize: int | None = None,
    shared: Collection[Var] | None = None,
) -> Counted:
    """Counts one backward sweep: all cotangents at once, the forward pass not included.

    Args:
        equations: Straight-line code of one example, in order.
        active: Variables to which cotangents are taken.
        itemsize: Bytes of a floating-point number; None is as traced.
        shared: As for `count_forward`.
    """
    flat = flat_equations(equations, active=active, itemsize=itemsize)
    return Counted(fused=passes.sweep(flat, _levels(flat, shared)))


def count_push(
    equations: Sequence[Equation],
    active: Collection[Var],
    *,
    itemsize: int | None = None,
    shared: Collection[Var] | None = None,
) -> Counted:
    """Counts pushing tangents forward, the forward pass not included.

    Args:
        equations: Straight-line code of one example, in order.
        active: Variables that have a tangent.
        itemsize: Bytes of a floating-point number; None is as traced.
        shared: As for `count_forward`.
    """
    flat = flat_equations(equations, active=active, itemsize=itemsize)
    return Counted(fused=passes.push(flat, _levels(flat, shared)))


class DerivativeCounts:
    """Counts sweeps and pushes over the same equations, for many sets of variables.

    What a single equation takes is counted once. What is alive at once is left open.

    Args:
        equations: Straight-line code of one example, in order.
        shared: As for `count_forward`.
    """

    def __init__(
        self, equations: Sequence[Equation], *, shared: Collection[Var] | None = None
    ) -> None:
        flat = flat_equations(equations)
        levels = _levels(flat, shared)
        self._flat, self._levels = flat, levels
        self._made = passes.Derivatives(flat=flat, levels=levels)
        self._pushed = LinearizedCounts(flat, levels)
        self._written = passes.forward(flat, levels).written

    def sweep(self, active: Collection[Var]) -> Counted:
        """Counts one backward sweep, as `count_sweep`."""
        nodes = self._made.sweep(self._flat.activated(active))
        return Counted(fused=fuse(nodes, with_peak=False))

    def kept_entries(self, active: Collection[Var]) -> int:
        """Counts what the forward pass keeps for derivatives, in entries of an example.

        What it does not write, since it is computed where it is read, is computed
        again.
        """
        kept = self._flat.activated(active) & self._written
        return sum(self._flat.arrays[number].elements for number in kept)

    def bases(self, taps: Collection[Var], active: Collection[Var]) -> dict[Var, Var]:
        """Returns for every tap the one whose cotangent is held for it.

        It is another where the tap's own is made of that, entry by entry: a compiler
        makes such a cotangent where it is read.

        Args:
            taps: Variables.
            active: Variables that cotangents pass on the way back to them.
        """
        flat = self._flat
        tap_of = {flat.number_of[tap]: tap for tap in taps}
        passed = flat.activated(active)
        return {
            tap: tap_of[self._base(flat.number_of[tap], tap_of.keys(), passed)]
            for tap in taps
        }

    def _base(self, tap: int, taps: Collection[int], active: Collection[int]) -> int:
        number = base = tap
        while True:
            readers = [
                item
                for item in self._readers.get(number, ())
                if any(made in active for made in item.outputs)
            ]
            if len(readers) != 1 or not passes.is_entrywise(readers[0]):
                return base
            (number,) = readers[0].outputs
            if number in taps:
                base = number

    def waiting(self, taps: Collection[Var], active: Collection[Var]) -> dict[Var, int]:
        """Counts cotangents that wait for what comes much later in a sweep.

        That of a concatenation waits for the branch that was not taken first. The sweep
        does not wait for the leaves: it may be at any equation before a tap while the
        leaf of that tap is computed.

        Args:
            taps: Variables; their own cotangents are not counted.
            active: Variables that cotangents pass on the way back to them.

        Returns:
            For every tap the most bytes of one instance.
        """
        flat = self._flat
        numbers = {flat.number_of[tap] for tap in taps}
        written = list(lives(self._made.sweep(flat.activated(active))))
        steps = [0] * (len(written) + 2)
        for life in written:
            if life.last > life.first and self._of_cotangent(life.key) not in numbers:
                steps[life.first + 1] += life.size.pairs
                steps[life.last] -= life.size.pairs
        alive = list(itertools.accumulate(steps))
        most = [0] * (len(flat.equations) + 1)
        for life in written:
            most[life.position] = max(most[life.position], alive[life.first])
        most = list(itertools.accumulate(most, max))
        return {tap: most[self._places.get(flat.number_of[tap], 0)] for tap in taps}

    def _of_cotangent(self, key: Hashable) -> int | None:
        """Returns the number of the value whose cotangent a name stands for."""
        match key:
            case ("cotangent", int(number)):
                return number
            case ("part", int(position), int(operand)):
                return self._flat.equations[position].inputs[operand]
            case _:
                return None

    @functools.cached_property
    def _places(self) -> dict[int, int]:
        """The positions of the equations that make values."""
        return {
            number: position
            for position, item in enumerate(self._flat.equations)
            for number in item.outputs
        }

    @functools.cached_property
    def _readers(self) -> dict[int, list[FlatEquation]]:
        found: dict[int, list[FlatEquation]] = {}
        for item in self._flat.equations:
            for number in set(item.inputs):
                if number is not None:
                    found.setdefault(number, []).append(item)
        return found

    def copied_entries(self, active: Collection[Var]) -> int:
        """Returns the most that a library copies of one cotangent, in entries."""
        numbers = self._flat.activated(active)
        found = (
            copied_by_pull(item.call)
            for item in self._flat.equations
            if item.call.primitive is primitives.conv_general_dilated_p
            and item.inputs[0] in numbers
        )
        return max(found, default=0)

    def linearized(self, active: Collection[Var]) -> Linearized:
        """Counts the memory that it takes to push tangents again and again.

        Args:
            active: Variables that have a tangent.
        """
        return self._pushed.of(self._flat.activated(active))

    def push(self, active: Collection[Var]) -> Counted:
        """Counts pushing tangents forward, as `count_push`."""
        nodes = self._made.push(self._flat.activated(active))
        return Counted(fused=fuse(nodes, with_peak=False))

    def sweep_unfused(self, active: Collection[Var]) -> Counted:
        """Counts of `sweep` what is joined with nothing: products, loops.

        It takes a fraction of the time, and what it counts `sweep` counts as well.
        """
        return _unfused(self._made.sweep(self._flat.activated(active)))

    def push_unfused(self, active: Collection[Var]) -> Counted:
        """Counts of `push` what is joined with nothing, as `sweep_unfused`."""
        return _unfused(self._made.push(self._flat.activated(active)))


def _unfused(nodes: Sequence[Node]) -> Counted:
    alone = (node.tallies for node in nodes if node.fused is None)
    tallies = list(itertools.chain.from_iterable(alone))
    return Counted(fused=Fused(tallies=tallies, peak=NOTHING))


def _levels(flat: Flat, shared: Collection[Var] | None) -> dict[int | None, Level]:
    if shared is None:
        return levels_of(flat, None)
    numbers = {
        flat.number_of[variable] for variable in shared if variable in flat.number_of
    }
    return levels_of(flat, numbers)


def _merged(tallies: Sequence[Tally]) -> tuple[Tally, ...]:
    """Makes one tally of equal ones."""
    return tuple(tally.times(count) for tally, count in Counter(tallies).items())
