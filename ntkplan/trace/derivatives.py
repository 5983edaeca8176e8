"""Which equations pass a derivative on, and which have none to give."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import jax

from ntkplan._jax import (
    ClosedJaxpr,
    JaxprEqn,
    Primitive,
    Var,
    array_dtype,
    array_spec,
    equation_function,
    has_derivative,
    primitives,
    source_location,
    stop_gradient_p,
    sub_jaxprs,
)
from ntkplan.errors import UnsupportedPrimitiveError
from ntkplan.ir.equation import Equation
from ntkplan.ir.graph import Flow, KernelGraph, Leaf
from ntkplan.rules.work import solvers
from ntkplan.rules.work.flat import CALLS
from ntkplan.rules.work.loops import LOOPS
from ntkplan.rules.work.table import work_rules


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


def moving_variables(flow: Flow) -> frozenset[Var]:
    """Returns the variables from which a derivative reaches some output."""
    found = {atom for atom in flow.body.outputs if isinstance(atom, Var)}
    for equation in reversed(flow.body.equations):
        if not passes_no_derivative(equation) and not found.isdisjoint(
            equation.outputs
        ):
            found.update(equation.reads)
    return frozenset(found)


def check_differentiable(graph: KernelGraph) -> None:
    """Refuses a model in which a leaf meets an equation without a derivative.

    Raises:
        UnsupportedPrimitiveError: Names the primitive, its line and the leaf.
    """
    leaves = [leaf for leaf in graph.leaves if leaf.differentiated]
    reached = reached_variables(graph, [leaf.variable for leaf in leaves])
    moving = moving_variables(graph)
    for equation in graph.body.equations:
        if passes_no_derivative(equation) or reached.isdisjoint(equation.reads):
            continue
        if moving.isdisjoint(equation.outputs):
            continue
        for name, source, reason in _without_derivative(equation, reached):
            guilty = next(
                leaf
                for leaf in leaves
                if not reached_variables(graph, [leaf.variable]).isdisjoint(
                    equation.reads
                )
            )
            raise UnsupportedPrimitiveError(
                primitive=name,
                source=source or equation.source,
                path=guilty.path,
                reason=reason,
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


# What cannot be pulled back: its name, its line, and what JAX says of it.
Obstacle = tuple[str, object, str | None]

# Functions with a derivative rule that does not go through what they compute.
_OF_THEIR_OWN = frozenset(
    {
        primitives.custom_jvp_call_p,
        primitives.custom_vjp_call_p,
        primitives.linear_solve_p,
    }
)


def _without_derivative(
    equation: Equation, reached: Collection[Var]
) -> Iterator[Obstacle]:
    """Yields everything in an equation that cannot be pulled back."""
    primitive = equation.primitive
    if primitive in _OF_THEIR_OWN:
        return
    if primitive is primitives.while_p:
        yield primitive.name, equation.source, None
    inner = [closed for _, closed in sub_jaxprs(equation.parameters)]
    for closed in inner:
        yield from _inner_without_derivative(closed)
    if _is_proven(primitive) and all(_is_proven_inside(closed) for closed in inner):
        return
    reason = _refusal(equation.as_jax(), reached)
    if reason is not None:
        bodies = inner if primitive in _HOLDS_BODIES else []
        yield next(
            (culprit for closed in bodies for culprit in _refused_inside(closed)),
            (primitive.name, equation.source, reason),
        )


def _inner_without_derivative(closed: ClosedJaxpr) -> Iterator[Obstacle]:
    """Looks into a loop or a branch, where any float may carry a derivative."""
    for equation in closed.jaxpr.eqns:
        if equation.primitive is primitives.while_p:
            yield equation.primitive.name, source_location(equation), None
        if equation.primitive not in _OF_THEIR_OWN:
            for _, inner in sub_jaxprs(equation.params):
                yield from _inner_without_derivative(inner)


# Differentiable by some operands or with some parameters only: the eigenvectors of a
# matrix without symmetry, the full matrices of a singular value decomposition.
_PARTLY = frozenset(
    {
        *solvers.rules(),
        primitives.polygamma_p,
        primitives.random_gamma_p,
        primitives.reduce_window_p,
        primitives.regularized_incomplete_beta_p,
    }
)
_HOLDS_BODIES = frozenset({*LOOPS, *CALLS})


def _is_proven(primitive: Primitive) -> bool:
    """Says whether JAX pulls back every equation of a primitive."""
    if primitive in _HOLDS_BODIES:
        return True
    counted = primitive in work_rules() and primitive not in _PARTLY
    return counted and has_derivative(primitive)


def _is_proven_inside(closed: ClosedJaxpr) -> bool:
    return all(
        _is_proven(equation.primitive)
        and all(_is_proven_inside(inner) for _, inner in sub_jaxprs(equation.params))
        for equation in closed.jaxpr.eqns
        if any(map(_is_inexact, (variable.aval for variable in equation.outvars)))
    )


def _refused_inside(closed: ClosedJaxpr) -> Iterator[Obstacle]:
    """Looks in a body that cannot be pulled back for what it is that cannot."""
    for equation in closed.jaxpr.eqns:
        if equation.primitive in _HOLDS_BODIES:
            for _, inner in sub_jaxprs(equation.params):
                yield from _refused_inside(inner)
        reads = [atom for atom in equation.invars if isinstance(atom, Var)]
        moving = [variable for variable in reads if _is_inexact(variable.aval)]
        if moving and not _is_proven(equation.primitive):
            reason = _refusal(equation, moving)
            if reason is not None:
                yield equation.primitive.name, source_location(equation), reason


def _refusal(equation: JaxprEqn, reached: Collection[Var]) -> str | None:
    """Has JAX pull several cotangents back through an equation, with shapes alone.

    Returns:
        What JAX says where it cannot.
    """
    reads = [atom for atom in equation.invars if isinstance(atom, Var)]
    free = list(dict.fromkeys(reads))
    moving = [variable in reached for variable in free]
    apply = equation_function(
        equation.primitive,
        equation.invars,
        equation.outvars,
        equation.params,
        equation,
    )

    def pulled(values: list[Any]) -> Any:
        def moved(some: list[Any]) -> list[Any]:
            rest = iter(some)
            every = {
                variable: next(rest) if moves else value
                for variable, value, moves in zip(free, values, moving, strict=True)
            }
            results = apply(*(every[variable] for variable in reads))
            return [result for result in results if _is_inexact(result)]

        primals = [value for value, moves in zip(values, moving, strict=True) if moves]
        results, pull = jax.vjp(moved, primals)
        columns = [jax.numpy.stack([result] * 2) for result in results]
        return jax.vmap(pull)(columns)

    try:
        jax.eval_shape(pulled, list(map(array_spec, free)))
    except (NotImplementedError, TypeError, ValueError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _is_inexact(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)  # tokens have none
    return dtype is not None and bool(jax.numpy.issubdtype(dtype, jax.numpy.inexact))


def without_forward_mode(graph: KernelGraph) -> dict[Leaf, str]:
    """Says of leaves whose tangents cannot be pushed forward why that is so.

    A function with a `custom_vjp` has a backward rule and no forward one.
    """
    backward_only = [
        equation
        for equation in graph.body.equations
        if _has_custom_vjp(equation.primitive, equation.parameters)
    ]
    found: dict[Leaf, str] = {}
    for leaf in graph.leaves if backward_only else ():
        reached = reached_variables(graph, [leaf.variable])
        for equation in backward_only:
            if not reached.isdisjoint(equation.reads):
                where = f" at {equation.source}" if equation.source else ""
                found[leaf] = f"it meets a custom_vjp{where}, which has no forward mode"
                break
    return found


def _has_custom_vjp(primitive: Primitive, parameters: dict[str, Any]) -> bool:
    return primitive is primitives.custom_vjp_call_p or any(
        _has_custom_vjp(equation.primitive, equation.params)
        for _, inner in sub_jaxprs(parameters)
        for equation in inner.jaxpr.eqns
    )
