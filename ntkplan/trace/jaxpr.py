"""From a closed jaxpr to a flat body: calls written out, custom derivatives kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from ntkplan._jax import (
    CALL_JAXPR_PARAMETER,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    SourceLocation,
    Var,
    array_spec,
    call_stack,
    new_variable,
    source_location,
    sub_jaxprs,
)
from ntkplan.errors import MutableReferenceError
from ntkplan.ir.equation import Atom, Body, Equation


def flatten(closed: ClosedJaxpr) -> Body:
    """Writes out every call whose body has the same derivative as the call.

    `jit` and plain calls are written out; `remat`, `custom_jvp_call`,
    `custom_vjp_call` and control flow stay single equations. Every variable of the
    result is fresh, so that a function called twice does not define one twice, and
    equations that no output needs are left out.

    Args:
        closed: A jaxpr, as `jax.make_jaxpr` gives it.

    Returns:
        The same function as straight-line code.
    """
    flattener = _Flattener()
    inputs = [new_variable(variable.aval) for variable in closed.jaxpr.invars]
    outputs = flattener.run(closed, inputs, calls=())
    equations, needed = _drop_dead(flattener.equations, outputs)
    constants = tuple(item for item in flattener.constants if item[0] in needed)
    return Body(
        inputs=tuple(inputs),
        constants=constants,
        equations=equations,
        outputs=tuple(outputs),
    )


def inline(
    closed: ClosedJaxpr, operands: Sequence[Atom]
) -> tuple[tuple[Equation, ...], tuple[tuple[Var, Any], ...], tuple[Atom, ...]]:
    """Writes a jaxpr out as equations over variables that exist already.

    Args:
        closed: A jaxpr.
        operands: What its inputs are.

    Returns:
        Its equations, the constants that it was closed over, and its outputs.
    """
    flattener = _Flattener()
    outputs = flattener.run(closed, operands, calls=())
    equations, needed = _drop_dead(flattener.equations, outputs)
    constants = tuple(item for item in flattener.constants if item[0] in needed)
    return equations, constants, tuple(outputs)


def applied(
    function: Callable[..., Any], *operands: Atom
) -> tuple[tuple[Equation, ...], tuple[tuple[Var, Any], ...], tuple[Atom, ...]]:
    """Writes a function of arrays out as equations, as `inline` does a jaxpr.

    Args:
        function: What JAX can trace.
        *operands: What its arguments are.
    """
    return inline(jax.make_jaxpr(function)(*map(array_spec, operands)), operands)


def only_output(body: Body, number: int) -> Body:
    """Returns the part of straight-line code that one of its outputs needs.

    Inputs stay, so that they keep their places.
    """
    outputs = (body.outputs[number],)
    equations, needed = _drop_dead(body.equations, outputs)
    return Body(
        inputs=body.inputs,
        constants=tuple(item for item in body.constants if item[0] in needed),
        equations=equations,
        outputs=outputs,
    )


class _Flattener:
    """Collects equations and constants while the calls are written out."""

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.constants: list[tuple[Var, Any]] = []
        # Where the call stands that is being written out: JAX keeps no line of the
        # user's for what stands inside of its own jitted functions.
        self.call_site: SourceLocation | None = None
        self.call_stack: tuple[SourceLocation, ...] = ()

    def run(
        self, closed: ClosedJaxpr, inputs: Sequence[Atom], calls: tuple[str, ...]
    ) -> list[Atom]:
        environment: dict[Var, Atom] = dict(
            zip(closed.jaxpr.invars, inputs, strict=True)
        )
        for variable, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            fresh = new_variable(variable.aval)
            self.constants.append((fresh, value))
            environment[variable] = fresh

        def read(atom: Atom) -> Atom:
            return atom if isinstance(atom, Literal) else environment[atom]

        for equation in closed.jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            results = self.equation(equation, operands, calls)
            environment.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in closed.jaxpr.outvars]

    def equation(
        self, equation: JaxprEqn, operands: list[Atom], calls: tuple[str, ...]
    ) -> Sequence[Atom]:
        parameter = CALL_JAXPR_PARAMETER.get(equation.primitive)
        if parameter is not None:
            inner = equation.params[parameter]
            if isinstance(inner, Jaxpr):
                inner = ClosedJaxpr(inner, [])
            name = str(equation.params.get("name", equation.primitive.name))
            outer = self.call_site, self.call_stack
            self.call_site = source_location(equation) or self.call_site
            self.call_stack = self.stack(equation)
            results = self.run(inner, operands, (*calls, name))
            self.call_site, self.call_stack = outer
            return results
        self.check_values(equation)
        outputs = tuple(new_variable(variable.aval) for variable in equation.outvars)
        self.equations.append(
            Equation(
                primitive=equation.primitive,
                inputs=tuple(operands),
                outputs=outputs,
                parameters=dict(equation.params),
                source=source_location(equation) or self.call_site,
                calls=calls,
                origin=equation,
                stack=self.stack(equation),
            )
        )
        return outputs

    def stack(self, equation: JaxprEqn) -> tuple[SourceLocation, ...]:
        """Returns the user's calls around an equation, those of its caller first."""
        own, outer = call_stack(equation), self.call_stack
        if own and outer and own[0].same_function(outer[0]):
            return own
        return (*outer, *own)

    def check_values(self, equation: JaxprEqn) -> None:
        """Refuses references, which change without a result that says so."""
        for maker in _references(equation):
            raise MutableReferenceError(
                primitive=maker.primitive.name,
                source=source_location(maker) or self.call_site,
            )


def _references(equation: JaxprEqn) -> Iterator[JaxprEqn]:
    """Yields the equations that make references, those of inner jaxprs too.

    Bodies that are given references belong to a primitive that keeps them to itself.
    """
    if any(map(_is_reference, equation.outvars)):
        yield equation
    for _, inner in sub_jaxprs(equation.params):
        if not any(map(_is_reference, inner.jaxpr.invars)):
            for item in inner.jaxpr.eqns:
                yield from _references(item)


def _is_reference(variable: Var) -> bool:
    return hasattr(variable.aval, "inner_aval")


def _drop_dead(
    equations: Sequence[Equation], outputs: Sequence[Atom]
) -> tuple[tuple[Equation, ...], set[Var]]:
    """Keeps the equations that some output needs, and says which variables it is."""
    needed = {atom for atom in outputs if isinstance(atom, Var)}
    kept: list[Equation] = []
    for equation in reversed(equations):
        if needed.isdisjoint(equation.outputs):
            continue
        kept.append(equation)
        needed.update(atom for atom in equation.inputs if isinstance(atom, Var))
    return tuple(reversed(kept)), needed
