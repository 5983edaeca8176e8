"""Runs printed bodies, and the bodies that they were printed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkplan._jax import Literal, Var, equation_function
from ntkplan.emit.body import PrintedBody, print_body
from ntkplan.ir.equation import Body
from ntkplan.trace.jaxpr import flatten


def traced(function: Callable[..., Any], *arguments: Any) -> Body:
    return flatten(jax.make_jaxpr(function)(*arguments))


def input_names(body: Body) -> list[str]:
    return [f"x{index}" for index in range(len(body.inputs))]


def printed(body: Body, **options: Any) -> PrintedBody:
    return print_body(body, input_names=input_names(body), **options)


def source(body: Body, result: PrintedBody) -> str:
    """A module with one function, `forward`, of the inputs and a dict of taps."""
    outputs = [
        result.names[item] if isinstance(item, Var) else repr(np.asarray(item.val)[()])
        for item in body.outputs
    ]
    arguments = ", ".join([*input_names(body), "taps"])
    helpers = "".join(f"{helper}\n\n\n" for helper in result.helpers)
    lines = [f"    {line}" if line else "" for line in result.lines]
    returned = f"    return [{', '.join(outputs)}]"
    return helpers + "\n".join([f"def forward({arguments}):", *lines, returned, ""])


def evaluate_printed(body: Body, result: PrintedBody) -> Callable[..., list[Any]]:
    """The printed body as a function of a dict of taps and the inputs."""
    namespace: dict[str, Any] = {
        "jax": jax,
        "jnp": jnp,
        "lax": lax,
        "np": np,
        "in_order": lambda array: array,
        **{name: jnp.asarray(array) for name, array in result.constants.items()},
        **result.references,
    }
    exec(compile(source(body, result), "<printed>", "exec"), namespace)
    forward = namespace["forward"]
    return lambda taps, *inputs: forward(*inputs, taps)


def evaluate_body(body: Body, tapped: Mapping[Var, str]) -> Callable[..., list[Any]]:
    """The body itself, equation by equation, as the same function."""

    def function(taps: Mapping[str, Any], *inputs: Any) -> list[Any]:
        environment: dict[Var, Any] = {v: jnp.asarray(a) for v, a in body.constants}

        def define(variables: Sequence[Var], values: Sequence[Any]) -> None:
            for variable, value in zip(variables, values, strict=True):
                name = tapped.get(variable)
                environment[variable] = value if name is None else value + taps[name]

        define(body.inputs, inputs)
        for equation in body.equations:
            apply = equation_function(
                equation.primitive,
                equation.inputs,
                equation.outputs,
                equation.parameters,
                equation.origin,
            )
            operands = [
                environment[item] for item in equation.inputs if isinstance(item, Var)
            ]
            define(equation.outputs, apply(*operands))
        return [
            item.val if isinstance(item, Literal) else environment[item]
            for item in body.outputs
        ]

    return function


def some_variables(body: Body) -> dict[Var, str]:
    """Some floating-point variables, spread over the body, with the taps' names."""
    variables = [
        variable
        for variable in (
            *body.inputs,
            *(v for equation in body.equations for v in equation.outputs),
        )
        if variable.aval.dtype == np.float32
    ]
    step = max(3, len(variables) // 10)
    chosen = variables[:1] + variables[len(variables) // 2 :: step]
    return {variable: f"t{index}" for index, variable in enumerate(chosen)}


def small_taps(tapped: Mapping[Var, str]) -> dict[str, np.ndarray]:
    """Arrays to be added to the variables."""
    return {
        name: np.random.default_rng(index).normal(size=v.aval.shape).astype(np.float32)
        * np.float32(0.01)
        for index, (v, name) in enumerate(tapped.items())
    }


def arrays_close(actual: Any, expected: Any, tolerance: float) -> None:
    actual_leaves, expected_leaves = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(actual_leaves) == len(expected_leaves)
    for one, other in zip(actual_leaves, expected_leaves, strict=True):
        if jnp.issubdtype(jnp.asarray(other).dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if other.dtype == jax.dtypes.float0:
            continue
        if not jnp.issubdtype(other.dtype, np.inexact):
            np.testing.assert_array_equal(one, other)
            continue
        kind = np.complex128 if np.iscomplexobj(other) else np.float64
        one, other = one.astype(kind), other.astype(kind)
        finite = np.abs(other[np.isfinite(other)])
        scale = max(1.0, float(finite.max())) if finite.size else 1.0
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)
