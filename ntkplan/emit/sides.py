"""How the kernel function calls `derivatives` for the examples of each side."""

from __future__ import annotations

from ntkplan.emit.expression import atom, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.ir.program import Program

LAYOUT_IMPORT = "from jax.experimental.layout import Layout, with_layout_constraint"


def sides_function(program: Program) -> list[str]:
    """Prints `sides(params, x)` of a program that orders the axes of cotangents.

    Left to itself XLA's CPU compiler keeps what the sweep computes in layouts that suit
    the sweep, so that every product makes a copy of its own.
    """
    factors = ", factors" * bool(program.factors)
    value = f"{_mapped_derivatives(program)}(params, x)"
    body = [
        '"""Activations and cotangents; these in memory as products read them."""',
        *statement(f"activations, cotangents{factors} = ", atom(value), WIDTH),
        "in_order = lambda a: with_layout_constraint(a, Layout(tuple(range(a.ndim))))",
        f"return activations, jax.tree.map(in_order, cotangents){factors}",
    ]
    return ["def sides(params, x):", *indented(body)]


def named_sides(program: Program) -> list[str]:
    """Prints what makes `sides` a name inside of the kernel function."""
    if program.orders_axes:
        return []
    return [f"sides = {_mapped_derivatives(program)}"]


def side_lines(program: Program) -> list[str]:
    """Prints `side1` and `side2`, and what is the same for all examples."""
    if program.factors:
        return [
            *named_sides(program),
            "*side1, factors = sides(params, x1)",
            "side2 = side1 if x2 is None else sides(params, x2)[:2]",
        ]
    mapped = "sides" if program.orders_axes else _mapped_derivatives(program)
    second = f"side1 if x2 is None else {mapped}(params, x2)"
    return [
        f"side1 = {mapped}(params, x1)",
        *statement("side2 = ", atom(second), WIDTH),
    ]


def _mapped_derivatives(program: Program) -> str:
    """Returns Python text for `derivatives` over the examples."""
    axis = 0 if program.spec.whole_batch else program.batch_axis
    out_axes = ", (0, 0, None)" if program.factors else ""
    return f"jax.vmap(derivatives, (None, {axis}){out_axes})"
