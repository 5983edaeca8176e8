"""What a linearised model holds in memory, to push tangents through it again and again.

A compiler joins what computes a derivative with what reads it. It does not do so across
the edge of a loop: what a loop of pushes reads is written to memory before the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from ntkplan._jax import primitives
from ntkplan.cost.work import OperationKind
from ntkplan.rules.work.amount import Amount, Level, Tally, amount, sum_of
from ntkplan.rules.work.flat import Flat, FlatEquation, is_product
from ntkplan.rules.work.fusion import Key
from ntkplan.rules.work.loops import LOOPS
from ntkplan.rules.work.step import TANGENT, Fuses, Pass, Product, Step
from ntkplan.rules.work.table import rule_of

Levels = dict[int | None, Level]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linearized:
    """Bytes that pushing tangents takes; amounts of one example and of all.

    Attributes:
        residuals: What is kept of the forward pass.
        early: Matrix products of the parameters' tangents. They depend on no other
            tangent, so that a compiler may make all of them before it needs them.
        copied: Operands of products of data with data, which libraries transpose.
    """

    residuals: Amount
    early: Amount
    copied: Amount


def linearized(flat: Flat, levels: Levels, active: Collection[int]) -> Linearized:
    """Counts what pushing tangents of some values takes in memory.

    Args:
        flat: The equations.
        levels: The level of every value.
        active: Numbers of the values that have a tangent.
    """
    return LinearizedCounts(flat, levels).of(active)


class LinearizedCounts:
    """Counts the memory of pushes over the same equations, for many sets of values.

    What a single equation needs is found out once.

    Args:
        flat: The equations.
        levels: The level of every value.
    """

    def __init__(self, flat: Flat, levels: Levels) -> None:
        self._flat, self._levels = flat, levels
        self._source = _sources(flat)
        self._given = frozenset(flat.free)
        self._known: dict[tuple[int, tuple[int, ...]], _Noted] = {}

    def of(self, active: Collection[int]) -> Linearized:
        """Counts what pushing tangents of some values takes.

        Args:
            active: Numbers of the values that have a tangent.
        """
        residuals: dict[Key, Amount] = {}
        copied: dict[Key, Amount] = {}
        early: list[Amount] = []
        for position, equation in enumerate(self._flat.equations):
            numbers = enumerate(equation.inputs)
            wanted = tuple([index for index, number in numbers if number in active])
            if wanted:
                noted = self._noted(position, wanted)
                residuals.update(noted.residuals)
                copied.update(noted.copied)
                early += noted.early
        return Linearized(
            residuals=sum_of(list(residuals.values())),
            early=sum_of(early),
            copied=sum_of(list(copied.values())),
        )

    def _noted(self, position: int, wanted: tuple[int, ...]) -> _Noted:
        if (position, wanted) not in self._known:
            noted = _Noted(self._flat, self._levels, self._given, self._source)
            noted.see(position, self._flat.equations[position], wanted)
            self._known[position, wanted] = noted
        return self._known[position, wanted]


def _sources(flat: Flat) -> dict[int, int]:
    """Returns for every alias of a value the value that it stands for."""
    source: dict[int, int] = {}
    for equation in flat.equations:
        primitive = equation.call.primitive
        if primitive in LOOPS or is_product(primitive):
            continue
        steps = rule_of(primitive).forward(equation.call)
        if len(steps) != 1 or not isinstance(steps[0], Pass):
            continue
        origin = equation.inputs[steps[0].reads[0][0]] if steps[0].reads else None
        if steps[0].fuses is Fuses.ALIAS and origin is not None:
            origin = source.get(origin, origin)
            source.update(dict.fromkeys(equation.outputs, origin))
    return source


class _Noted:
    """What one equation reads beside tangents.

    Attributes:
        residuals: What is kept, each array once.
        copied: What is kept a second time, with its axes in another order.
        early: Products of the parameters' tangents.
    """

    def __init__(
        self,
        flat: Flat,
        levels: Levels,
        given: frozenset[int],
        source: dict[int, int],
    ) -> None:
        self._flat, self._levels = flat, levels
        self._given, self._source = given, source
        self.residuals: dict[Key, Amount] = {}
        self.copied: dict[Key, Amount] = {}
        self.early: list[Amount] = []

    def see(self, position: int, equation: FlatEquation, wanted: Sequence[int]) -> None:
        """Notes what the equation needs.

        Args:
            position: Its place.
            equation: The equation.
            wanted: Its operands that have a tangent.
        """
        if equation.call.primitive in LOOPS:
            self._see_loop(position, equation, wanted)
            return
        rule = rule_of(equation.call.primitive)
        for index in wanted:
            for step in rule.push(equation.call, index):
                self._see_step(position, equation, index, step)

    def _see_step(
        self, position: int, equation: FlatEquation, operand: int, step: Step
    ) -> None:
        if isinstance(step, Product):
            self._see_product(equation, operand, step)
            return
        primitive = equation.call.primitive
        if primitive in _BY_RESULT:
            self._keep(self.residuals, equation.outputs[0])
            if primitive not in _EQUAL_TO_RESULT:
                self._keep_slope(position, equation, operand)
        elif primitive is primitives.div_p and operand == 0:
            self._keep(self.residuals, equation.inputs[1])
        elif primitive is primitives.select_n_p:
            self._keep(self.residuals, equation.inputs[0])
        elif step.residual_flops or step.residual_transcendentals:
            self._keep_slope(position, equation, operand)
        else:
            for index, _ in step.reads:
                if index != TANGENT:
                    self._keep(self.residuals, equation.inputs[index])

    def _keep_slope(self, position: int, equation: FlatEquation, operand: int) -> None:
        """Notes that a derivative is kept, and not what it is computed from."""
        levels = (self._levels[number] for number in equation.outputs)
        kept = amount(equation.call.result.nbytes, max(levels))
        self.residuals["slope", position, operand] = kept

    def _see_product(self, equation: FlatEquation, operand: int, step: Product) -> None:
        (other,) = {step.left, step.right} - {TANGENT}
        number = equation.inputs[other]
        self._keep(self.residuals, number)
        mine = self._levels[equation.inputs[operand]]
        if mine is Level.SHARED and step.kind is OperationKind.DOT:
            level = self._levels[equation.outputs[0]]
            self.early.append(amount(equation.call.result.nbytes, level))
        elif mine is not Level.SHARED and self._levels[number] is not Level.SHARED:
            self._keep(self.copied, number, given=True)

    def _see_loop(
        self, position: int, equation: FlatEquation, wanted: Sequence[int]
    ) -> None:
        """Counts a loop's body as often as it runs: every step keeps its own."""
        operands = {
            index: self._levels.get(number, Level.SHARED)
            for index, number in enumerate(equation.inputs)
        }
        rule = LOOPS[equation.call.primitive]
        tallies = rule.push(equation.call, operands, wanted, _BodyEngine())
        kept = [tally.bytes_written for tally in tallies]
        self.residuals["loop", position] = sum_of(kept)

    def _keep(
        self, kept: dict[Key, Amount], number: int | None, *, given: bool = False
    ) -> None:
        """Notes that a value is kept; what the model is given is there anyway."""
        if number is None:
            return
        number = self._source.get(number, number)
        if given or number not in self._given:
            nbytes = self._flat.arrays[number].nbytes
            kept["value", number] = amount(nbytes, self._levels[number])


# Functions whose derivative JAX writes with their own result.
_EQUAL_TO_RESULT = frozenset({primitives.exp_p})
_BY_RESULT = _EQUAL_TO_RESULT | {primitives.logistic_p, primitives.tanh_p}


class _BodyEngine:
    """Counts bodies of loops; what is kept of one stands as what it writes."""

    def forward(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns nothing: no tangent is pushed."""
        return ()

    def sweep(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns nothing: no tangent is pushed."""
        return ()

    def push(self, flat: Flat, levels: Levels) -> Sequence[Tally]:
        """Returns what one run keeps."""
        # What a body is given of an example changes from step to step, and is kept.
        given = [number for number in flat.free if levels[number] is Level.SHARED]
        found = linearized(dataclasses.replace(flat, free=given), levels, flat.active)
        kind = OperationKind.ELEMENTWISE
        return (Tally(kind=kind, bytes_written=found.residuals),)
