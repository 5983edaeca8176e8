"""One equation, or a chain of them, traced from a small function and evaluated.

Arrays that rules derive are evaluated by JAX, equation by equation, in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ntkplan._jax import Literal, Primitive, equation_function, new_variable
from ntkplan.ir.equation import Atom, Equation
from ntkplan.ir.graph import Flow, build_graph
from ntkplan.rules.step import Step
from ntkplan.trace.jaxpr import flatten
from ntkplan.trace.scope import Scope
from tests.oracles import x64


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns normal float64 numbers, others for every shape and seed."""
    return np.random.default_rng((seed, *shape)).normal(size=shape)


class Traced:
    """A function of arrays as straight-line code, with the values of its variables."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        with x64():
            arguments = tuple(jax.numpy.asarray(item) for item in arguments)
            self.body = flatten(jax.make_jaxpr(function)(*arguments))
        self.values: dict[Any, Any] = dict(
            zip(self.body.inputs, arguments, strict=True)
        )
        self.values.update(self.body.constants)
        flow = Flow(body=self.body, graph=build_graph(self.body.equations))
        self.scope = Scope(flow, (), depth=0)

    def value(self, atom: Atom) -> np.ndarray:
        """Returns what a variable holds, of those also that rules derived."""
        if isinstance(atom, Literal):
            return np.asarray(atom.val)
        self.values.update(self.scope.constants)
        self.values.update(
            (variable, literal.val) for variable, literal in self.scope.literals.items()
        )
        if atom not in self.values:
            known = list(self.values)

            def evaluated(*values: Any) -> Any:
                return self._evaluated(atom, dict(zip(known, values, strict=True)))

            with x64():
                jitted = jax.jit(evaluated, compiler_options=_UNOPTIMISED)
                self.values[atom] = jitted(*self.values.values())
        return np.asarray(self.values[atom])

    def _evaluated(self, variable: Any, values: dict[Any, Any]) -> Any:
        """Evaluates no equation but those that the variable needs."""
        if variable not in values:
            (equation,) = (
                equation
                for equation in (*self.body.equations, *self.scope.derived)
                if variable in equation.outputs
            )
            operands = [self._evaluated(each, values) for each in equation.reads]
            results = function_of(equation)(*operands)
            values.update(zip(equation.outputs, results, strict=True))
        return values[variable]

    def number(self, primitive: Primitive) -> int:
        """Returns the number of the one equation of a primitive."""
        (found,) = (
            number
            for number, equation in enumerate(self.body.equations)
            if equation.primitive is primitive
        )
        return found

    def step(self, number: int, operand: int, *, whole: bool = False) -> Step:
        """Returns one operand's read by an equation, as rules are given it."""
        return Step(
            equation=self.body.equations[number],
            number=number,
            operand=operand,
            depth=0,
            partial=lambda: self.scope.partial(number, operand),
            derive=self.scope.derive,
            whole=whole,
        )

    def jacobians(self, number: int, operand: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns `jacfwd` and `jacrev` of an equation's result by one operand."""
        equation = self.body.equations[number]
        # Each operand on its own, also where one variable stands twice.
        fresh = tuple(
            atom if isinstance(atom, Literal) else new_variable(atom.aval)
            for atom in equation.inputs
        )
        apart = dataclasses.replace(equation, inputs=fresh)
        place = apart.reads.index(fresh[operand])
        operands = [self.value(variable) for variable in equation.reads]

        def result(value: Any) -> Any:
            changed = [*operands[:place], value, *operands[place + 1 :]]
            return function_of(apart)(*changed)[0]

        return both_jacobians(result, operands[place])


def function_of(equation: Equation) -> Callable[..., list[Any]]:
    """Returns an equation as a function of the variables that it reads."""
    return equation_function(
        equation.primitive,
        equation.inputs,
        equation.outputs,
        equation.parameters,
        equation.origin,
    )


def both_jacobians(
    function: Callable[[Any], Any], value: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `jacfwd` and `jacrev` of a function, in float64."""
    with x64():
        value = jax.numpy.asarray(value)
        jitted = jax.jit(
            lambda value: (jax.jacfwd(function)(value), jax.jacrev(function)(value)),
            compiler_options=_UNOPTIMISED,
        )
        forward, reverse = map(np.asarray, jitted(value))
    assert forward.dtype == reverse.dtype == np.float64
    return forward, reverse


_UNOPTIMISED = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""Compiling is all the time that these tests take."""
