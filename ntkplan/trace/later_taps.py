"""Taps that stand after a sum over positions, where the outputs' cotangents are small.

Between a use and a mean over positions there is often nothing but entrywise functions.
The derivative along that way is a product of entrywise partials, an array without
outputs. Tapped after the mean, the use has that array as one more factor:

    C[n, o, position, value] = C_later[n, o, value] * K[n, position, value]
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ntkplan._jax import Var, array_dtype, array_shape
from ntkplan.ir.use import Factor, Layer, Use
from ntkplan.rules.entrywise import CALLS, ENTRYWISE, is_entrywise
from ntkplan.trace.constant_slopes import constant_slope
from ntkplan.trace.derivatives import passes_no_derivative
from ntkplan.trace.moved_axes import AXIS_RULES, Axes
from ntkplan.trace.scope import Scope

Reads = Mapping[int, tuple[int, ...]]
"""Numbers of equations, each with the operands that it reads a value as."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Slope:
    """An entrywise derivative: a number times an array, where there is one."""

    factor: float = 1.0
    variable: Var | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Stretch:
    """Entrywise equations from one value to another that has the same axes.

    Attributes:
        start: The value that they start from.
        end: The one value that leaves them.
        axes: Axes of both.
        equations: Their numbers, in order, each with the operands that depend on the
            start.
    """

    start: Var
    end: Var
    axes: Axes
    equations: tuple[tuple[int, tuple[int, ...]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Stage:
    """A place for a later tap: the result of a sum over axes.

    Attributes:
        variable: The result.
        axes: Its axes.
        slopes: Arrays by which the cotangent is multiplied on the way back to the first
            tap, each with its axes.
        factor: A number by which it is multiplied too.
    """

    variable: Var
    axes: Axes
    slopes: tuple[tuple[Var, Axes], ...]
    factor: float


class LaterTaps:
    """Finds later taps in a model; what is on the way is derived once for every tap."""

    def __init__(self, scope: Scope) -> None:
        """Starts with the model as it was traced; slopes are added to it."""
        self._scope = scope
        self._stages: dict[Var, list[_Stage]] = {}

    def uses(self, layer: Layer) -> list[Use] | None:
        """Returns a layer's uses with later taps, or None where one has none."""
        if layer.opaque is not None or layer.idle:
            return None
        found = [self._moved(use) for stack in layer.stacks for use in stack.uses]
        moved = [use for use in found if use is not None]
        return moved if len(moved) == len(found) else None

    def _moved(self, use: Use) -> Use | None:
        """Moves a use's tap as far as that can be said in its labels."""
        inside = len(use.place) != 1
        if inside or use.value_crop is not None:
            return None
        labels = _axis_labels(use)
        if labels is None:
            return None
        if use.tap not in self._stages:
            self._stages[use.tap] = _stages(self._scope, use.tap)
        for stage in reversed(self._stages[use.tap]):
            moved = _at_stage(use, labels, stage, self._scope)
            if moved is not None:
                return moved
        return None


def _axis_labels(use: Use) -> list[tuple[str, ...]] | None:
    """Returns the labels of each axis of a use's tap, None where one has a part."""
    pending = list(use.value)
    found: list[tuple[str, ...]] = []
    for size in array_shape(use.tap):
        taken: list[str] = []
        while math.prod(use.sizes[label] for label in taken) < size:
            if not pending:
                return None
            taken.append(pending.pop(0))
        if math.prod(use.sizes[label] for label in taken) != size:
            return None
        found.append(tuple(taken))
    return None if pending else found


def _at_stage(
    use: Use, labels: Sequence[tuple[str, ...]], stage: _Stage, scope: Scope
) -> Use | None:
    """Returns a use with its tap at a stage.

    A label that nothing has any more is summed: the use is multiplied by its length.
    None where that label is the parameter's.
    """

    def named(axes: Axes) -> tuple[str, ...]:
        return tuple(name for axis in axes for at in axis for name in labels[at])

    value = named(stage.axes)
    slopes = tuple(
        Factor(
            variable=variable,
            labels=named(axes),
            shared=variable not in scope.varying,
        )
        for variable, axes in stage.slopes
    )
    factors = (*use.factors, *slopes)
    held = {*value, *use.activations, use.hot}
    for each in factors:
        held |= {*each.labels, each.hot}
    gone = [label for label in use.value if label not in held]
    if not held.issuperset(use.parameter):
        return None
    return dataclasses.replace(
        use,
        tap=stage.variable,
        value=value,
        factors=factors,
        factor=use.factor
        * stage.factor
        * math.prod(use.sizes[label] for label in gone),
    )


def _stages(scope: Scope, tap: Var) -> list[_Stage]:
    """Follows a value forward, as long as all that reads it keeps its entries apart.

    Derivatives are only taken where a sum is reached.
    """
    found: list[_Stage] = []
    shape = array_shape(tap)
    variable = start = tap
    axes: Axes = tuple((at,) if size > 1 else () for at, size in enumerate(shape))
    slopes: tuple[tuple[Var, Axes], ...] = ()
    factor = 1.0
    equations: list[tuple[int, tuple[int, ...]]] = []
    stretches: list[_Stretch] = []
    while not scope.flow.is_output(variable):
        reads = _reads(scope, variable)
        moved = _moved_axes(scope, reads, axes, shape)
        if moved is None:
            part = _entrywise_part(scope, variable, reads)
            if part is None:
                break
            variable = part[1]
            equations += part[0]
            continue
        if equations:
            stretches.append(
                _Stretch(
                    start=start, end=variable, axes=axes, equations=tuple(equations)
                )
            )
            equations = []
        sums = sum(map(len, moved)) < sum(map(len, axes))
        (number,) = reads
        (variable,) = scope.flow.body.equations[number].outputs
        axes, start = moved, variable
        if not sums:
            continue
        for stretch in stretches:
            slope = _slope(scope, stretch)
            if slope is None:
                return found
            factor *= slope.factor
            if slope.variable is not None:
                slopes = (*slopes, (slope.variable, stretch.axes))
        stretches = []
        found.append(_Stage(variable=variable, axes=axes, slopes=slopes, factor=factor))
    return found


def _reads(scope: Scope, variable: Var) -> Reads:
    """Returns who reads a value, as far as a derivative passes there."""
    found: dict[int, tuple[int, ...]] = {}
    for number, operand in scope.flow.consumers(variable):
        equation = scope.flow.body.equations[number]
        moves = not scope.moving.isdisjoint(equation.outputs)
        if moves and not passes_no_derivative(equation):
            found[number] = (*found.get(number, ()), operand)
    return found


def _entrywise_part(
    scope: Scope, start: Var, reads: Reads
) -> tuple[list[tuple[int, tuple[int, ...]]], Var] | None:
    """Follows a value through entrywise equations until one value depends on it.

    Returns:
        The equations, and the value that all ways lead through; None where there is
        none.
    """
    shape = array_shape(start)
    pending = dict(reads)
    found: list[tuple[int, tuple[int, ...]]] = []
    while pending:
        number = min(pending)
        operands = pending.pop(number)
        equation = scope.flow.body.equations[number]
        if equation.primitive not in ENTRYWISE and equation.primitive not in CALLS:
            return None
        result, *others = equation.outputs
        if others or scope.flow.is_output(result):
            return None
        if array_shape(result) != shape or not _is_real(result):
            return None
        found.append((number, operands))
        if not pending:
            return found, result
        for reader, more in _reads(scope, result).items():
            pending[reader] = (*pending.get(reader, ()), *more)
    return None


def _is_real(variable: Var) -> bool:
    """Means of 16-bit numbers are taken of 32-bit ones, so that dtypes may differ."""
    return bool(jax.numpy.issubdtype(array_dtype(variable), jax.numpy.floating))


def _slope(scope: Scope, stretch: _Stretch) -> _Slope | None:
    """Returns the derivative along a stretch, None where it is not entrywise."""
    slopes = {stretch.start: _Slope()}
    for number, operands in stretch.equations:
        equation = scope.flow.body.equations[number]
        terms: list[_Slope] = []
        for operand in operands:
            atom = equation.inputs[operand]
            if not isinstance(atom, Var) or not is_entrywise(equation, operand):
                return None
            terms.append(_times(scope, slopes[atom], number, operand))
        slopes[equation.outputs[0]] = _summed(scope, terms)
    return slopes[stretch.end]


def _times(scope: Scope, slope: _Slope, number: int, operand: int) -> _Slope:
    """Multiplies a slope by an equation's derivative."""
    constant = constant_slope(scope.flow, number, operand)
    if constant is not None:
        return dataclasses.replace(slope, factor=slope.factor * constant)
    partial = scope.partial(number, operand)
    if slope.variable is not None:
        partial = scope.derive(operator.mul, slope.variable, partial)
    return dataclasses.replace(slope, variable=partial)


def _summed(scope: Scope, terms: Sequence[_Slope]) -> _Slope:
    """Adds the derivatives along several ways."""
    if len(terms) == 1:
        return terms[0]
    arrays = [term.variable for term in terms if term.variable is not None]
    if not arrays:
        return _Slope(factor=sum(term.factor for term in terms))

    def total(*values: Any) -> Any:
        rest = iter(values)
        return functools.reduce(operator.add, (_scaled(term, rest) for term in terms))

    return _Slope(variable=scope.derive(total, *arrays))


def _scaled(term: _Slope, arrays: Any) -> Any:
    if term.variable is None:
        return term.factor
    array = next(arrays)
    return array if term.factor == 1.0 else term.factor * array


def _moved_axes(
    scope: Scope, reads: Reads, axes: Axes, sizes: Sequence[int]
) -> Axes | None:
    """Returns the axes after the one equation that reads a value, if it moves them.

    Args:
        scope: The model.
        reads: Who reads the value.
        axes: The value's axes.
        sizes: Lengths of the axes of the first tap.

    Returns:
        The axes of the result, fewer than before where it is a sum over some; None
        where the equation does anything else.
    """
    if len(reads) != 1:
        return None
    ((number, operands),) = reads.items()
    equation = scope.flow.body.equations[number]
    rule = AXIS_RULES.get(equation.primitive)
    if rule is None or len(operands) != 1:
        return None
    return rule(equation, axes, sizes)
