"""Equations without calls, over numbered values instead of variables."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ntkplan._jax import (
    CALL_JAXPR_PARAMETER,
    ClosedJaxpr,
    Jaxpr,
    Literal,
    Primitive,
    Var,
    primitives,
    remat_p,
)
from ntkplan.ir.equation import Atom, Equation
from ntkplan.rules.work.amount import Level
from ntkplan.rules.work.step import Array, Call

CALLS: dict[Primitive, str] = {
    **CALL_JAXPR_PARAMETER,
    primitives.custom_jvp_call_p: "call_jaxpr",
    primitives.custom_vjp_call_p: "call_jaxpr",
    remat_p: "jaxpr",
}
"""Calls that are counted as what they call; a custom derivative as an ordinary one, a
checkpoint as if nothing had to be computed again."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FlatEquation:
    """A call and the numbers of the values that it reads and makes.

    Attributes:
        call: The primitive and the shapes.
        inputs: Numbers of values; None for a literal.
        outputs: Numbers of values.
        inside: Whether it stands inside of a call.
    """

    call: Call
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    inside: bool = False


@dataclasses.dataclass(kw_only=True, eq=False)
class Flat:
    """A list of equations, written out.

    Attributes:
        equations: In order.
        arrays: The shape of every value, by its number.
        free: Numbers of the values that no equation makes.
        active: Numbers of the values that are differentiated.
        number_of: The numbers of the variables at the top.
        results: Numbers of the values that a jaxpr returns; none of a mere list.
        named: For every variable at the top how many of the written-out equations stand
            before it first has a number, that number, and the variable.
    """

    equations: list[FlatEquation]
    arrays: list[Array]
    free: list[int]
    active: set[int]
    number_of: dict[Var, int]
    results: frozenset[int] = frozenset()
    named: list[tuple[int, int, Var]] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def read(self) -> frozenset[int | None]:
        """Numbers of the values that some equation reads."""
        return frozenset(number for item in self.equations for number in item.inputs)

    def activated(self, variables: Collection[Var]) -> frozenset[int]:
        """Returns what is differentiated where some variables at the top are.

        Inside of calls it is all that depends on one of them.
        """
        found: set[int] = set()
        named = (item for item in self.named if item[2] in variables)
        after = (len(self.equations), 0, None)
        before, number, variable = next(named, after)
        for position, equation in enumerate(self.equations):
            while variable is not None and before <= position:
                found.add(number)
                before, number, variable = next(named, after)
            if equation.inside and not found.isdisjoint(equation.inputs):
                found.update(
                    made for made in equation.outputs if self.arrays[made].inexact
                )
        if variable is not None:
            found.update((number, *(number for _, number, _ in named)))
        return frozenset(found)


class _Applied(Protocol):
    """What `Equation` and JAX's own equation have in common, by other names."""

    @property
    def primitive(self) -> Primitive: ...


def flat_equations(
    equations: Iterable[Equation],
    *,
    active: Collection[Var] = (),
    itemsize: int | None = None,
) -> Flat:
    """Writes out a list of equations.

    Args:
        equations: In order.
        active: Variables that are differentiated. Inside of calls, all that depends
            on one of them.
        itemsize: Bytes of a floating-point number; None is as traced.
    """
    writer = _Writer(itemsize)
    writer.known_active = set(active)
    for equation in equations:
        writer.apply(
            equation,
            equation.inputs,
            equation.outputs,
            equation.parameters,
            writer.top,
            depth=0,
        )
    return writer.result()


def flat_jaxpr(
    closed: ClosedJaxpr, *, active: Sequence[bool] = (), itemsize: int | None = None
) -> Flat:
    """Writes out a jaxpr; what depends on an active argument is active.

    Args:
        closed: The jaxpr.
        active: For every argument, whether it is differentiated.
        itemsize: Bytes of a floating-point number; None is as traced.
    """
    writer = _Writer(itemsize)
    jaxpr = closed.jaxpr
    for variable in (*jaxpr.constvars, *jaxpr.invars):
        writer.number(variable, writer.top)
    for variable, wanted in zip(jaxpr.invars, active, strict=False):
        if wanted:
            writer.active.add(writer.top[variable])
    for equation in jaxpr.eqns:
        writer.apply(
            equation,
            equation.invars,
            equation.outvars,
            equation.params,
            writer.top,
            depth=1,
        )
    flat = writer.result()
    flat.results = frozenset(
        flat.number_of[atom] for atom in jaxpr.outvars if isinstance(atom, Var)
    )
    return flat


class _Writer:
    """Numbers the values while calls are written out."""

    def __init__(self, itemsize: int | None) -> None:
        self.itemsize = itemsize
        self.equations: list[FlatEquation] = []
        self.arrays: list[Array] = []
        self.free: list[int] = []
        self.top: dict[Var, int] = {}
        self.active: set[int] = set()
        self.known_active: set[Var] = set()
        self.by_aval: dict[tuple[Any, Any], Array] = {}
        self.named: list[tuple[int, int, Var]] = []

    def result(self) -> Flat:
        return Flat(
            equations=self.equations,
            arrays=self.arrays,
            free=self.free,
            active=self.active,
            number_of=self.top,
            named=self.named,
        )

    def array(self, aval: Any) -> Array:
        shape = getattr(aval, "shape", None)
        dtype = getattr(aval, "dtype", None)
        key = (shape, dtype)
        known = self.by_aval.get(key)
        if known is None:
            known = _array(shape, dtype, self.itemsize)
            self.by_aval[key] = known
        return known

    def make(self, aval: Any) -> int:
        self.arrays.append(self.array(aval))
        return len(self.arrays) - 1

    def number(self, atom: Atom, scope: dict[Var, int]) -> int | None:
        """Returns a variable's number, a new one for a free variable."""
        if isinstance(atom, Literal):
            return None
        known = scope.get(atom)
        if known is None:
            known = scope[atom] = self.make(atom.aval)
            self.free.append(known)
            self.named.append((len(self.equations), known, atom))
            if atom in self.known_active:
                self.active.add(known)
        return known

    def apply(
        self,
        equation: _Applied,
        inputs: Sequence[Atom],
        outputs: Sequence[Var],
        parameters: dict[str, Any],
        scope: dict[Var, int],
        depth: int,
    ) -> None:
        numbers = [self.number(atom, scope) for atom in inputs]
        name = CALLS.get(equation.primitive)
        if name is not None:
            made = self.write_out(parameters[name], inputs, numbers, depth)
        else:
            made = [self.make(variable.aval) for variable in outputs]
            call = Call(
                primitive=equation.primitive,
                inputs=tuple(self.array(atom.aval) for atom in inputs),
                outputs=tuple(self.arrays[number] for number in made),
                parameters=parameters,
            )
            self.equations.append(
                FlatEquation(
                    call=call,
                    inputs=tuple(numbers),
                    outputs=tuple(made),
                    inside=depth > 0,
                )
            )
            if depth and any(number in self.active for number in numbers):
                self.active.update(
                    number for number in made if self.arrays[number].inexact
                )
        scope.update(zip(outputs, made, strict=True))
        if not depth:
            before = len(self.equations)
            self.named += [(before, scope[variable], variable) for variable in outputs]
            self.active.update(
                scope[variable] for variable in outputs if variable in self.known_active
            )

    def write_out(
        self,
        inner: ClosedJaxpr | Jaxpr,
        inputs: Sequence[Atom],
        numbers: Sequence[int | None],
        depth: int,
    ) -> list[int]:
        jaxpr = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
        scope: dict[Var, int] = {}
        for variable, atom, number in zip(jaxpr.invars, inputs, numbers, strict=True):
            scope[variable] = self.make(atom.aval) if number is None else number
        for equation in jaxpr.eqns:
            self.apply(
                equation,
                equation.invars,
                equation.outvars,
                equation.params,
                scope,
                depth + 1,
            )
        made = (self.number(atom, scope) for atom in jaxpr.outvars)
        return [
            self.make(atom.aval) if number is None else number
            for atom, number in zip(jaxpr.outvars, made, strict=True)
        ]


def _array(shape: Any, dtype: Any, itemsize: int | None) -> Array:
    """Returns the size of an array; tokens and the like have none."""
    if shape is None or dtype is None:
        return Array(shape=(), itemsize=0, inexact=False, elements=0, nbytes=0)
    inexact = isinstance(dtype, np.dtype) and _is_inexact(dtype)
    width = dtype.itemsize
    if inexact and itemsize is not None:
        width = itemsize * (2 if np.issubdtype(dtype, np.complexfloating) else 1)
    elements = math.prod(shape)
    return Array(
        shape=tuple(shape),
        itemsize=width,
        inexact=inexact,
        elements=elements,
        nbytes=elements * width,
    )


def _is_inexact(dtype: np.dtype) -> bool:
    """Whether a type is floating or complex, the short types of JAX among them."""
    return np.issubdtype(dtype, np.inexact) or "float" in dtype.name


def levels_of(
    flat: Flat,
    shared: Collection[int] | None,
    given: Mapping[int | None, Level] | None = None,
) -> dict[int | None, Level]:
    """Finds out which values differ by example.

    Args:
        flat: The equations.
        shared: Numbers of the free values that are the same for every example; all
            other free ones differ. None: a free value is the parameter where it meets
            data in a product, and the data where it meets nothing but free values, as
            the left operand.
        given: Levels of some free values, whatever `shared` says.

    Returns:
        The level of every value; None, for literals, is shared.
    """
    levels: dict[int | None, Level] = {None: Level.SHARED}
    # A literal that is passed to a call has a number inside, and no maker.
    levels.update(dict.fromkeys(range(len(flat.arrays)), Level.SHARED))
    for number in flat.free:
        known = shared is None or number in shared
        levels[number] = Level.SHARED if known else Level.EXAMPLE
    if given:
        levels.update(given)
    for equation in flat.equations:
        level = max(
            (levels.get(number, Level.SHARED) for number in equation.inputs),
            default=Level.SHARED,
        )
        if shared is None and is_product(equation.call.primitive):
            level = Level.EXAMPLE
        for number in equation.outputs:
            levels[number] = level
    return levels


def is_product(primitive: Primitive) -> bool:
    """Whether a primitive multiplies and adds two operands."""
    return primitive in (
        primitives.dot_general_p,
        primitives.conv_general_dilated_p,
    )
