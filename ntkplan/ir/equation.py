"""Straight-line code: equations over JAX variables, without calls to look into."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ntkplan._jax import JaxprEqn, Literal, Primitive, SourceLocation, Var

Atom = Var | Literal


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Equation:
    """One primitive applied to variables and literals.

    Attributes:
        primitive: What is applied.
        inputs: Variables or literals, in the primitive's order.
        outputs: Variables that the equation defines; unused ones are kept.
        parameters: The primitive's static parameters, sub-jaxprs among them.
        source: The user's line, or None where JAX kept none.
        calls: Names of the jitted functions around the equation, outermost first.
        origin: JAX's own equation, from which this one was taken.
        stack: The user's calls around it, outermost first, as far as JAX knows.
    """

    primitive: Primitive
    inputs: tuple[Atom, ...]
    outputs: tuple[Var, ...]
    parameters: dict[str, Any]
    source: SourceLocation | None
    calls: tuple[str, ...] = ()
    origin: JaxprEqn
    stack: tuple[SourceLocation, ...] = ()

    @property
    def reads(self) -> tuple[Var, ...]:
        """The variables among the inputs."""
        return tuple(atom for atom in self.inputs if isinstance(atom, Var))

    def reading(self, table: Mapping[Var, Atom]) -> Equation:
        """Returns the equation with other atoms in place of some variables it reads."""
        inputs = tuple(substituted(atom, table) for atom in self.inputs)
        return dataclasses.replace(self, inputs=inputs)

    def as_jax(self) -> JaxprEqn:
        """Returns JAX's own equation over this one's variables."""
        return self.origin.replace(
            primitive=self.primitive,
            invars=list(self.inputs),
            outvars=list(self.outputs),
            params=self.parameters,
        )


def substituted(atom: Atom, table: Mapping[Var, Atom]) -> Atom:
    """Returns what a table has for an atom, or the atom where it has nothing."""
    return table.get(atom, atom) if isinstance(atom, Var) else atom


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """A flat jaxpr: what `ntkplan.trace.jaxpr.flatten` makes of a closed one.

    Attributes:
        inputs: The arguments.
        constants: Variables bound to arrays that the function closed over.
        equations: In an order in which every variable is defined before it is used.
        outputs: Variables or literals.
    """

    inputs: tuple[Var, ...]
    constants: tuple[tuple[Var, Any], ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
