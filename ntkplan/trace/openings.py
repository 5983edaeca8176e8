"""Loops, branches and checkpoints, into whose bodies a leaf is followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy

from ntkplan._jax import (
    ClosedJaxpr,
    Jaxpr,
    Primitive,
    Var,
    array_dtype,
    array_shape,
    close,
    new_variable,
    primitives,
    remat_p,
)
from ntkplan.errors import InternalError
from ntkplan.ir.equation import Atom, Body, Equation, substituted
from ntkplan.trace.jaxpr import applied, flatten
from ntkplan.trace.scope import Scope, inner_scope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entrance:
    """How an operand of an equation enters one of its bodies.

    Attributes:
        body: Which body.
        variable: The body's input.
        scanned: Whether the body is given one entry of the first axis at a time.
        result: The equation's result that is the operand again, or None.
    """

    body: int
    variable: Var
    scanned: bool = False
    result: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What is to be known of a primitive with bodies.

    Attributes:
        scopes: Makes the scopes of an equation's bodies.
        entrances: Says where an operand enters them; None where it cannot be followed.
        rebuilt: Makes the equation with what is needed of the additions to its bodies.
        length: Steps of the loop, None where there is none.
        mixes: Whether what a body records depends on which body is taken.
    """

    scopes: Callable[[Scope, Equation], tuple[Scope, ...]]
    entrances: Callable[[Equation, int, Sequence[Scope]], tuple[Entrance, ...] | None]
    rebuilt: Callable[[Equation, Sequence[Scope], Collection[Var]], Equation]
    length: Callable[[Equation], int | None]
    mixes: Callable[[Scope, Equation], bool]


def closed_body(scope: Scope, needed: Collection[Var]) -> Body:
    """Returns a scope's body with what is needed of all that was added to it.

    A tapped variable is what it was plus a tap, which is a further input; a recorded
    one is a further output.

    Args:
        scope: The body, and what was added to it.
        needed: Variables around the body, or of the body itself at the top, that are
            tapped or recorded.
    """
    body = scope.flow.body
    taps_wanted = _wanted(scope.taps, needed)
    records = _wanted(scope.records, needed)
    inside = {*taps_wanted, *records} if scope.depth else set(needed)
    defined = {output for item in body.equations for output in item.outputs}
    taps = {
        variable: new_variable(variable.aval) if variable in defined else variable
        for variable in taps_wanted
    }
    equations: list[Equation] = []
    for number, equation in enumerate(body.equations):
        if number in scope.opened:
            opening = OPENINGS[equation.primitive]
            equation = opening.rebuilt(equation, scope.opened[number], inside)
        equations += _tapped(equation, taps)
    derived, constants = _alive(scope, inside)
    # A body inside of an equation returns a number as it is; the model records arrays.
    numbers = scope.literals if scope.depth else {}
    return Body(
        inputs=(*body.inputs, *taps.values()),
        constants=(*body.constants, *constants),
        equations=(*equations, *(item.reading(numbers) for item in derived)),
        outputs=(*body.outputs, *(substituted(atom, numbers) for atom in records)),
    )


def _wanted(table: Mapping[Var, Var], needed: Collection[Var]) -> dict[Var, Var]:
    """Returns the entries of a table whose outer variable is needed."""
    return {inner: outer for inner, outer in table.items() if outer in needed}


def _alive(
    scope: Scope, needed: Collection[Var]
) -> tuple[list[Equation], list[tuple[Var, Any]]]:
    """Returns the derived equations that are needed, and their constants."""
    wanted, kept = set(needed), []
    for equation in reversed(scope.derived):
        if not wanted.isdisjoint(equation.outputs):
            kept.append(equation)
            wanted.update(equation.reads)
    constants = list(scope.constants)
    if scope.depth == 0:
        constants += [
            (variable, numpy.asarray(literal.val, array_dtype(literal)))
            for variable, literal in scope.literals.items()
        ]
    constants = [item for item in constants if item[0] in wanted]
    return kept[::-1], constants


def _tapped(equation: Equation, taps: Mapping[Var, Var]) -> list[Equation]:
    """Adds taps to what an equation defines."""
    outputs, sums = list(equation.outputs), []
    for position, variable in enumerate(equation.outputs):
        tap = taps.get(variable)
        if tap is None or tap is variable:
            continue
        outputs[position] = new_variable(variable.aval)
        ((addition,), _, _) = applied(jax.numpy.add, outputs[position], tap)
        sums.append(dataclasses.replace(addition, outputs=(variable,)))
    return [dataclasses.replace(equation, outputs=tuple(outputs)), *sums]


def _as_jaxpr(body: Body, like: ClosedJaxpr | Jaxpr) -> ClosedJaxpr:
    """A body that was made out of a jaxpr's, whose names it keeps."""
    equations = [equation.as_jax() for equation in body.equations]
    return close(body.inputs, body.constants, equations, body.outputs, like=like)


def _replaced(
    equation: Equation,
    inputs: Sequence[Atom],
    outputs: Sequence[Var],
    parameters: dict[str, Any],
) -> Equation:
    return dataclasses.replace(
        equation,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        parameters={**equation.parameters, **parameters},
    )


def _varies(scope: Scope, atom: Atom) -> bool:
    return isinstance(atom, Var) and atom in scope.varying


def _varying(scope: Scope, body: Body, operands: Sequence[Atom]) -> set[Var]:
    """Returns the inputs of a body that differ from example to example."""
    return {
        inner
        for inner, atom in zip(body.inputs, operands, strict=True)
        if _varies(scope, atom)
    }


def _scan_scopes(scope: Scope, equation: Equation) -> tuple[Scope, ...]:
    body = flatten(equation.parameters["jaxpr"])
    n_consts = equation.parameters["num_consts"]
    n_carry = equation.parameters["num_carry"]
    varying = _varying(scope, body, equation.inputs)
    while True:
        made = inner_scope(body, varying, scope.depth + 1)
        carried = {
            body.inputs[n_consts + number]
            for number, atom in enumerate(body.outputs[:n_carry])
            if isinstance(atom, Var) and atom in made.varying
        }
        if carried <= varying:
            return (made,)
        varying |= carried


def _scan_entrances(
    equation: Equation, operand: int, scopes: Sequence[Scope]
) -> tuple[Entrance, ...] | None:
    (scope,) = scopes
    n_consts = equation.parameters["num_consts"]
    n_carry = equation.parameters["num_carry"]
    inner = scope.flow.body.inputs[operand]
    carry = operand - n_consts
    if carry < 0 or carry >= n_carry:
        return (Entrance(body=0, variable=inner, scanned=carry >= n_carry),)
    if scope.flow.body.outputs[carry] is not inner:
        return None
    return (Entrance(body=0, variable=inner, result=carry),)


def _scan_rebuilt(
    equation: Equation, scopes: Sequence[Scope], needed: Collection[Var]
) -> Equation:
    (scope,) = scopes
    taps, records = _wanted(scope.taps, needed), _wanted(scope.records, needed)
    return _replaced(
        equation,
        (*equation.inputs, *taps.values()),
        (*equation.outputs, *records.values()),
        {
            "jaxpr": _as_jaxpr(
                closed_body(scope, needed), equation.parameters["jaxpr"]
            ),
            **_linear(equation, len(taps)),
        },
    )


def _linear(equation: Equation, n_taps: int) -> dict[str, Any]:
    """Extends what JAX notes of every operand of a scan, where it does."""
    if "linear" not in equation.parameters:
        return {}
    return {"linear": (*equation.parameters["linear"], *([False] * n_taps))}


def _cond_scopes(scope: Scope, equation: Equation) -> tuple[Scope, ...]:
    found = []
    for closed in equation.parameters["branches"]:
        body = flatten(closed)
        varying = _varying(scope, body, equation.inputs[1:])
        found.append(inner_scope(body, varying, scope.depth + 1))
    return tuple(found)


def _cond_entrances(
    equation: Equation, operand: int, scopes: Sequence[Scope]
) -> tuple[Entrance, ...] | None:
    if operand == 0:
        return None
    return tuple(
        Entrance(body=number, variable=scope.flow.body.inputs[operand - 1])
        for number, scope in enumerate(scopes)
    )


def _cond_rebuilt(
    equation: Equation, scopes: Sequence[Scope], needed: Collection[Var]
) -> Equation:
    """Gives every branch the taps of all, and zeros for what others record."""
    branches: list[ClosedJaxpr] = []
    taps = [_wanted(scope.taps, needed) for scope in scopes]
    records = [_wanted(scope.records, needed) for scope in scopes]
    for mine, branch in zip(scopes, equation.parameters["branches"], strict=True):
        body = closed_body(mine, needed)
        own = len(mine.flow.body.inputs)
        n_outputs = len(mine.flow.body.outputs)
        inputs = list(body.inputs[:own])
        outputs, zeros = list(body.outputs[:n_outputs]), []
        for number, scope in enumerate(scopes):
            if scope is mine:
                inputs += body.inputs[own:]
                outputs += body.outputs[n_outputs:]
                continue
            inputs += [new_variable(variable.aval) for variable in taps[number]]
            for variable in records[number]:
                shape, dtype = array_shape(variable), array_dtype(variable)
                equations, _, (zero,) = applied(
                    lambda shape=shape, dtype=dtype: jax.numpy.zeros(shape, dtype)
                )
                zeros += equations
                outputs.append(zero)
        branches.append(
            _as_jaxpr(
                dataclasses.replace(
                    body,
                    inputs=tuple(inputs),
                    equations=(*body.equations, *zeros),
                    outputs=tuple(outputs),
                ),
                branch,
            )
        )
    return _replaced(
        equation,
        (*equation.inputs, *(tap for table in taps for tap in table.values())),
        (
            *equation.outputs,
            *(record for table in records for record in table.values()),
        ),
        {"branches": tuple(branches)},
    )


def _remat_scopes(scope: Scope, equation: Equation) -> tuple[Scope, ...]:
    body = flatten(_closed(equation.parameters["jaxpr"]))
    varying = _varying(scope, body, equation.inputs)
    return (inner_scope(body, varying, scope.depth + 1),)


def _closed(jaxpr: Jaxpr | ClosedJaxpr) -> ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, [])


def _remat_entrances(
    equation: Equation, operand: int, scopes: Sequence[Scope]
) -> tuple[Entrance, ...]:
    return (Entrance(body=0, variable=scopes[0].flow.body.inputs[operand]),)


def _remat_rebuilt(
    equation: Equation, scopes: Sequence[Scope], needed: Collection[Var]
) -> Equation:
    (scope,) = scopes
    closed = _as_jaxpr(closed_body(scope, needed), equation.parameters["jaxpr"])
    if closed.consts:
        raise InternalError("a checkpoint that is closed over arrays", closed)
    return _replaced(
        equation,
        (*equation.inputs, *_wanted(scope.taps, needed).values()),
        (*equation.outputs, *_wanted(scope.records, needed).values()),
        {"jaxpr": closed.jaxpr},
    )


def _once(equation: Equation) -> None:
    return None


def _never(scope: Scope, equation: Equation) -> bool:
    return False


OPENINGS: Mapping[Primitive, Opening] = {
    primitives.scan_p: Opening(
        scopes=_scan_scopes,
        entrances=_scan_entrances,
        rebuilt=_scan_rebuilt,
        length=lambda equation: int(equation.parameters["length"]),
        mixes=_never,
    ),
    primitives.cond_p: Opening(
        scopes=_cond_scopes,
        entrances=_cond_entrances,
        rebuilt=_cond_rebuilt,
        length=_once,
        mixes=lambda scope, equation: _varies(scope, equation.inputs[0]),
    ),
    remat_p: Opening(
        scopes=_remat_scopes,
        entrances=_remat_entrances,
        rebuilt=_remat_rebuilt,
        length=_once,
        mixes=_never,
    ),
}
"""Primitives into whose bodies leaves are followed, and how."""
