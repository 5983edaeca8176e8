"""How the kernel function calls `derivatives` for the examples of each side."""

from __future__ import annotations

from ntkplan.emit.expression import INDENT, atom, indented, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.ir.program import Program

LAYOUT_IMPORT = "from jax.experimental.layout import Layout, with_layout_constraint"


def side_sections(program: Program) -> list[str]:
    """Prints the functions that compute sides, where it takes more than one call."""
    return ["\n".join(_both_sides(program))] if program.joins_sides else []


def mapped_derivatives(program: Program) -> str:
    """Returns Python text for `derivatives` over the examples."""
    axis = 0 if program.spec.whole_batch else program.batch_axis
    out_axes = ", (0, 0, None)" if program.factors else ""
    return f"jax.vmap(derivatives, (None, {axis}){out_axes})"


def side_lines(program: Program) -> list[str]:
    """Prints `side1` and `side2`, and what is the same for all examples."""
    if program.joins_sides:
        factors = ", factors" * bool(program.factors)
        return [f"side1, side2{factors} = both_sides(params, x1, x2)"]
    mapped = mapped_derivatives(program)
    if program.factors:
        return [
            f"sides = {mapped}",
            "*side1, factors = sides(params, x1)",
            "side2 = side1 if x2 is None else sides(params, x2)[:2]",
        ]
    second = f"side1 if x2 is None else {mapped}(params, x2)"
    return [
        f"side1 = {mapped}(params, x1)",
        *statement("side2 = ", atom(second), WIDTH),
    ]


def _both_sides(program: Program) -> list[str]:
    """Prints `both_sides(params, x1, x2)`, from one sweep where `x2` is given."""
    axis = program.batch_axis
    made = mapped_derivatives(program)
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
