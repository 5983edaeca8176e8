"""Whether some equations are exactly one expression.

A proposed expression is traced just as it would be printed, on the same shapes, and is
taken only if it traces to just these equations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan._jax import Literal, Primitive, Var, primitives, sub_jaxprs
from ntkplan.emit.expression import Expression, atom
from ntkplan.emit.primitives.custom_rules import jaxpr_text, jvp_jaxpr
from ntkplan.emit.primitives.parameters import stable_text
from ntkplan.emit.primitives.value import aval_of
from ntkplan.ir.equation import Atom, Body, Equation
from ntkplan.trace.jaxpr import flatten

_SPREADING = (
    primitives.broadcast_in_dim_p,
    primitives.convert_element_type_p,
    primitives.reshape_p,
    primitives.copy_p,
)
# What has no bearing on the value, and differs between ways to write the same.
_IGNORED = ("weak_type", "sharding", "out_sharding")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """An expression that may be what some equations are.

    Attributes:
        operands: What it is made of.
        write: Prints it from the operands' expressions.
        result: Which result of the last equation it is.
    """

    operands: tuple[Atom, ...]
    write: Callable[..., Expression]
    result: int = 0


Proposer = Callable[[Equation, "Producers"], Iterator[Proposal]]


class Producers:
    """Which equation defines a variable, and which ones read it.

    Args:
        body: The equations.
        protected: Variables that something may be added to: they are no numbers.
    """

    def __init__(self, body: Body, protected: Collection[Var] = ()) -> None:
        self._protected = frozenset(protected)
        self._by_variable = {
            variable: equation
            for equation in body.equations
            for variable in equation.outputs
        }
        self._readers: dict[Var, list[Equation]] = {}
        for equation in body.equations:
            for variable in equation.reads:
                self._readers.setdefault(variable, []).append(equation)

    def readers(self, variable: Var) -> list[Equation]:
        """Returns the equations that read a variable, in order."""
        return self._readers.get(variable, [])

    def is_read_by(self, equation: Equation, kind: Primitive) -> bool:
        """Returns whether one equation, of a kind, reads the only result."""
        (output,) = equation.outputs
        readers = self.readers(output)
        return len(readers) == 1 and readers[0].primitive is kind

    def find(self, item: Atom, *kinds: Primitive) -> Equation | None:
        """Returns the equation that defines an atom, if it is of one of the kinds."""
        if isinstance(item, Literal):
            return None
        equation = self._by_variable.get(item)
        if equation is None or (kinds and equation.primitive not in kinds):
            return None
        return equation

    def through(self, item: Atom, *kinds: Primitive) -> Equation | None:
        """Returns the equation behind any equations of the kinds."""
        return self.find(self.behind(item, *kinds))

    def behind(self, item: Atom, *kinds: Primitive) -> Atom:
        """Returns the atom behind any equations of the kinds."""
        equation = self.find(item, *kinds)
        while equation is not None:
            item = equation.inputs[0]
            equation = self.find(item, *kinds)
        return item

    def number(self, item: Atom) -> Any:
        """Returns the number that all elements of an atom are, or None."""
        dtypes = [aval_of(item).dtype]
        equation = self.find(item, *_SPREADING)
        while equation is not None and self._protected.isdisjoint(equation.outputs):
            item = equation.inputs[0]
            dtypes.append(aval_of(item).dtype)
            equation = self.find(item, *_SPREADING)
        if not isinstance(item, Literal) or np.shape(item.val):
            return None
        number = np.asarray(item.val)
        for dtype in reversed(dtypes):
            number = number.astype(dtype)
        return number[()]

    def identity(self, item: Atom) -> Equation | None:
        """Returns the equation of an atom if it only copies its operand."""
        equation = self.find(
            item,
            primitives.copy_p,
            primitives.convert_element_type_p,
            primitives.reshape_p,
        )
        if equation is None or not _alike(equation.inputs[0], equation.outputs[0]):
            return None
        return None if equation.parameters.get("dimensions") else equation


class Matcher:
    """Compares proposals with one body; what was traced once is remembered."""

    def __init__(self, producers: Producers) -> None:
        self._producers = producers
        self._traces: dict[Any, Body | None] = {}

    def group(self, proposal: Proposal, last: Equation) -> set[Equation] | None:
        """The equations that a proposal is, if it is exactly some up to the last."""
        pattern = self._trace(proposal)
        if pattern is None or len(pattern.outputs) != 1 or not pattern.equations:
            return None
        return _Match(Producers(pattern), self._producers).run(
            dict(zip(pattern.inputs, proposal.operands, strict=True)),
            pattern.outputs[0],
            last.outputs[proposal.result],
        )

    def _trace(self, proposal: Proposal) -> Body | None:
        names = [f"x{index}" for index in range(len(proposal.operands))]
        text = proposal.write(*map(atom, names)).text
        avals = [aval_of(operand) for operand in proposal.operands]
        key = (text, *((aval.shape, str(aval.dtype)) for aval in avals))
        if key not in self._traces:
            self._traces[key] = _traced(f"lambda {', '.join(names)}: {text}", avals)
        return self._traces[key]


def _traced(source: str, avals: list[Any]) -> Body | None:
    """What a function's source traces to, unless it fails or needs constants."""
    # The source is what is going to be printed, so that nothing else is compared.
    function = eval(source, {"jax": jax, "jnp": jnp, "lax": lax})
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    try:
        body = flatten(jax.make_jaxpr(function)(*shapes))
    except (TypeError, ValueError, IndexError, NotImplementedError):
        return None
    return None if body.constants else body


class _Match:
    """One comparison of two bodies, from their last variables up."""

    def __init__(self, ours: Producers, theirs: Producers) -> None:
        self._ours, self._theirs = ours, theirs
        self._group: set[Equation] = set()

    def run(
        self, bound: dict[Var, Atom], wanted: Atom, actual: Atom
    ) -> set[Equation] | None:
        pairs = [(wanted, actual)]
        while pairs:
            wanted, actual = pairs.pop()
            if self._is_bound(bound, wanted, actual):
                continue
            wanted = self._skip(self._ours, wanted, None)
            actual = self._skip(self._theirs, actual, self._group)
            if self._is_bound(bound, wanted, actual) or self._same_number(
                wanted, actual
            ):
                continue
            mine, other = self._ours.find(wanted), self._theirs.find(actual)
            if mine is None or other is None or not _same_equation(mine, other):
                return None
            if any(item in bound for item in mine.outputs):
                return None
            bound.update(zip(mine.outputs, other.outputs, strict=True))
            if bound.get(_variable(wanted)) is not actual:
                return None
            self._group.add(other)
            pairs.extend(zip(mine.inputs, other.inputs, strict=True))
        return self._group

    def _same_number(self, wanted: Atom, actual: Atom) -> bool:
        """Whether all elements of both arrays are the same bits."""
        numbers = [self._ours.number(wanted), self._theirs.number(actual)]
        if numbers[0] is None or numbers[1] is None or not _alike(wanted, actual):
            return False
        return numbers[0].tobytes() == numbers[1].tobytes()

    @staticmethod
    def _is_bound(bound: dict[Var, Atom], wanted: Atom, actual: Atom) -> bool:
        return isinstance(wanted, Var) and bound.get(wanted) is actual

    @staticmethod
    def _skip(producers: Producers, item: Atom, passed: set[Equation] | None) -> Atom:
        equation = producers.identity(item)
        while equation is not None:
            if passed is not None:
                passed.add(equation)
            item = equation.inputs[0]
            equation = producers.identity(item)
        return item


def _variable(item: Atom) -> Var:
    assert isinstance(item, Var)
    return item


def _alike(one: Atom, other: Atom) -> bool:
    first, second = aval_of(one), aval_of(other)
    return first.shape == second.shape and first.dtype == second.dtype


def _same_equation(one: Equation, other: Equation) -> bool:
    return (
        one.primitive is other.primitive
        and len(one.inputs) == len(other.inputs)
        and len(one.outputs) == len(other.outputs)
        and all(map(_alike, one.outputs, other.outputs))
        and all(map(_alike, one.inputs, other.inputs))
        and _parameters_text(one) == _parameters_text(other)
        and _same_derivative(one, other)
    )


def _parameters_text(equation: Equation) -> str:
    kept = {
        name: value
        for name, value in equation.parameters.items()
        if name not in _IGNORED
    }
    preferred = kept.get("preferred_element_type")
    if preferred is not None and all(
        aval_of(item).dtype == preferred for item in equation.inputs
    ):
        kept["preferred_element_type"] = None
    return stable_text(kept)


def _same_derivative(one: Equation, other: Equation) -> bool:
    """Whether custom derivatives, which the parameters' text only names, are one."""
    if one.primitive is primitives.custom_jvp_call_p:
        return jaxpr_text(jvp_jaxpr(one)) == jaxpr_text(jvp_jaxpr(other))
    if one.primitive is primitives.custom_vjp_call_p:
        return False
    inner = [closed for _, closed in sub_jaxprs(one.parameters)]
    return not any("custom_" in str(closed) for closed in inner)
