"""The vectors over the outputs that are pulled back, in groups."""

from __future__ import annotations

from ntkplan.emit.expression import Expression, atom, call, method, statement
from ntkplan.emit.layout import WIDTH
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.program import Program


def group_sizes(spec: KernelSpec) -> list[int]:
    """Returns the sizes of the groups of basis vectors that have an axis."""
    sizes = (spec.n_diagonal, spec.n_trace, spec.n_full)
    return [] if spec.sums_logits else [size for size in sizes if size > 1]


def basis_lines(program: Program) -> tuple[list[str], Expression]:
    """Prints the output basis, `[*groups, outputs]`, and returns what holds it."""
    spec = program.spec
    n_outputs = spec.group_size(tuple(range(len(spec.output_shape))))
    lines: list[str] = []
    basis = call(
        "jnp.eye", atom(str(n_outputs)), dtype=f"jnp.{program.graph.output.dtype}"
    )
    order = (*spec.diagonal_axes, *spec.trace_axes, *spec.full_axes)
    sizes = group_sizes(spec)
    if len(sizes) > 1 or list(order) != sorted(order):
        rank = len(spec.output_shape)
        shaped = method(basis, "reshape", *map(str, (*spec.output_shape, n_outputs)))
        if list(order) != sorted(order):
            shaped = method(shaped, "transpose", *map(str, (*order, rank)))
        lines += statement("basis = ", shaped, WIDTH)
        lines += statement(
            "basis = ",
            method(atom("basis"), "reshape", *map(str, (*sizes, n_outputs))),
            WIDTH,
        )
        basis = atom("basis")
    return lines, basis
