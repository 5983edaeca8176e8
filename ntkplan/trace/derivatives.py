"""Which equations pass a derivative on, and which have none to give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax

from ntkplan._jax import (
    ClosedJaxpr,
    Primitive,
    Var,
    array_dtype,
    has_derivative,
    primitives,
    source_location,
    stop_gradient_p,
    sub_jaxprs,
)
from ntkplan.errors import UnsupportedPrimitiveError
from ntkplan.ir.equation import Equation
from ntkplan.ir.graph import KernelGraph, Leaf


def passes_no_derivative(equation: Equation) -> bool:
    """Says whether every output has a zero derivative by its very nature.

    That holds for `stop_gradient` and for outputs that are no floating-point numbers.
    """
    if equation.primitive is stop_gradient_p:
        return True
    return not any(
        jax.numpy.issubdtype(array_dtype(variable), jax.numpy.inexact)
        for variable in equation.outputs
    )


def check_differentiable(graph: KernelGraph) -> None:
    """Refuses a model in which a leaf meets an equation without a derivative.

    Raises:
        UnsupportedPrimitiveError: Names the primitive, its line and the leaf.
    """
    leaves = [leaf for leaf in graph.leaves if leaf.differentiated]
    reached = reached_variables(graph, [leaf.variable for leaf in leaves])
    for equation in graph.body.equations:
        if passes_no_derivative(equation) or reached.isdisjoint(equation.reads):
            continue
        for name, source in _without_derivative(equation):
            guilty = next(
                leaf
                for leaf in leaves
                if not reached_variables(graph, [leaf.variable]).isdisjoint(
                    equation.reads
                )
            )
            raise UnsupportedPrimitiveError(
                primitive=name, source=source or equation.source, path=guilty.path
            )


def reached_variables(graph: KernelGraph, variables: Iterable[Var]) -> frozenset[Var]:
    """Returns the variables that change, to first order, with the given ones."""
    reached = set(variables)
    for equation in graph.body.equations:
        if not passes_no_derivative(equation) and not reached.isdisjoint(
            equation.reads
        ):
            reached.update(equation.outputs)
    return frozenset(reached)


def _without_derivative(equation: Equation) -> Iterator[tuple[str, object]]:
    """Yields name and line of everything in an equation that cannot be pulled back."""
    if equation.primitive in (
        primitives.custom_jvp_call_p,
        primitives.custom_vjp_call_p,
    ):
        return
    if equation.primitive is primitives.while_p or not has_derivative(
        equation.primitive
    ):
        yield equation.primitive.name, equation.source
    for _, inner in sub_jaxprs(equation.parameters):
        yield from _inner_without_derivative(inner)


def _inner_without_derivative(closed: ClosedJaxpr) -> Iterator[tuple[str, object]]:
    """Looks into a loop or a branch, where any float may carry a derivative."""
    for equation in closed.jaxpr.eqns:
        if equation.primitive is primitives.while_p:
            yield equation.primitive.name, source_location(equation)
        for _, inner in sub_jaxprs(equation.params):
            yield from _inner_without_derivative(inner)


def without_forward_mode(graph: KernelGraph, leaf: Leaf) -> str | None:
    """Says why no tangent of a leaf can be pushed forward, or None where one can.

    A function with a `custom_vjp` has a backward rule and no forward one.
    """
    reached = reached_variables(graph, [leaf.variable])
    for equation in graph.body.equations:
        if not reached.isdisjoint(equation.reads) and _has_custom_vjp(
            equation.primitive, equation.parameters
        ):
            where = f" at {equation.source}" if equation.source else ""
            return f"it meets a custom_vjp{where}, which has no forward mode"
    return None


def _has_custom_vjp(primitive: Primitive, parameters: dict[str, Any]) -> bool:
    return primitive is primitives.custom_vjp_call_p or any(
        _has_custom_vjp(equation.primitive, equation.params)
        for _, inner in sub_jaxprs(parameters)
        for equation in inner.jaxpr.eqns
    )
