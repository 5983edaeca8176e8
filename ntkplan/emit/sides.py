"""How the kernel function calls `derivatives` for the examples of each side."""

from __future__ import annotations

from ntkplan.emit.expression import INDENT, atom, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.ir.program import Program

LAYOUT_IMPORT = "from jax.experimental.layout import Layout, with_layout_constraint"


def side_sections(program: Program) -> list[str]:
    """Prints the functions that compute sides, where it takes more than one call."""
    functions: list[list[str]] = []
    if program.orders_axes:
        functions.append(_sides_in_order(program))
    if program.joins_sides:
        functions.append(_both_sides(program))
    return ["\n".join(lines) for lines in functions]


def named_sides(program: Program) -> list[str]:
    """Prints what makes `sides` a name inside of the kernel function."""
    if program.orders_axes:
        return []
    return [f"sides = {_mapped_derivatives(program)}"]


def side_lines(program: Program) -> list[str]:
    """Prints `side1` and `side2`, and what is the same for all examples."""
    if program.joins_sides:
        factors = ", factors" * bool(program.factors)
        return [f"side1, side2{factors} = both_sides(params, x1, x2)"]
    if program.factors:
        return [
            *named_sides(program),
            "*side1, factors = sides(params, x1)",
            "side2 = side1 if x2 is None else sides(params, x2)[:2]",
        ]
    mapped = _function(program)
    second = f"side1 if x2 is None else {mapped}(params, x2)"
    return [
        f"side1 = {mapped}(params, x1)",
        *statement("side2 = ", atom(second), WIDTH),
    ]


def _sides_in_order(program: Program) -> list[str]:
    """Prints `sides(params, x)`, which says how cotangents are to lie in memory."""
    factors = ", factors" * bool(program.factors)
    mapped = _mapped_derivatives(program)
    body = [
        '"""Activations and cotangents; these in memory as products read them."""',
        *([f"mapped = {mapped}"] if factors else []),
        f"activations, cotangents{factors} = "
        f"{'mapped' if factors else mapped}(params, x)",
        "in_order = lambda a: with_layout_constraint(a, Layout(tuple(range(a.ndim))))",
        f"return activations, jax.tree.map(in_order, cotangents){factors}",
    ]
    return ["def sides(params, x):", *indented(body)]


def _both_sides(program: Program) -> list[str]:
    """Prints `both_sides(params, x1, x2)`, from one sweep where `x2` is given."""
    axis = program.batch_axis
    made = _function(program)
    along = "" if axis == 0 else f", {axis}"
    alone, both, factors = "side", "both", ""
    if program.factors:
        alone, both, factors = "*side, factors", "*both, factors", ", factors"
    return [
        "def both_sides(params, x1, x2):",
        *indented(
            [
                '"""The sides of x1 and x2, by one sweep, which is sooner compiled."""',
                "if x2 is None:",
                f"{INDENT}{alone} = {made}(params, x1)",
                f"{INDENT}return side, side{factors}",
                f"n1 = jax.tree.leaves(x1)[0].shape[{axis}]",
                f"x = jax.tree.map(lambda *x: jnp.concatenate(x{along}), x1, x2)",
                f"{both} = {made}(params, x)",
                "first = jax.tree.map(lambda a: a[:n1], both)",
                f"return first, jax.tree.map(lambda a: a[n1:], both){factors}",
            ]
        ),
    ]


def _function(program: Program) -> str:
    """Returns Python text for what computes one side."""
    return "sides" if program.orders_axes else _mapped_derivatives(program)


def _mapped_derivatives(program: Program) -> str:
    """Returns Python text for `derivatives` over the examples."""
    axis = 0 if program.spec.whole_batch else program.batch_axis
    out_axes = ", (0, 0, None)" if program.factors else ""
    return f"jax.vmap(derivatives, (None, {axis}){out_axes})"
