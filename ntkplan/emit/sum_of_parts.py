"""Two modules in one: the exact part of a kernel, and what stands in for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan.emit.expression import INDENT
from ntkplan.emit.join import combine_modules
from ntkplan.emit.source import Module
from ntkplan.ir.kernel import KernelSpec


def sum_of_parts(
    exact: Module,
    summed: Module,
    spec: KernelSpec,
    *,
    title: str,
    notes: Sequence[str],
) -> Module:
    """Adds to one kernel another one that is of the sum of logits.

    With K the latter, K ⊗ I stands for it: K itself where outputs are traced, K for
    every output that stands once, K on the diagonal of every pair.

    Args:
        exact: The kernel of some leaves.
        summed: The kernel of the sum of logits of the others, `[n1, n2]`.
        spec: The kernel of both together.
        title: First line of the module's docstring.
        notes: Its further lines.
    """

    def kernel(kernels: Sequence[str]) -> list[str]:
        first, second = kernels
        lines = [
            "@jax.jit",
            "def kernel(params, x1, x2=None):",
            f'{INDENT}"""Returns the kernel, {spec.describe()}: one part is exact."""',
            f"{INDENT}exact = {first}(params, x1, x2)",
            f"{INDENT}summed = {second}(params, x1, x2)",
        ]
        return [*lines, *(INDENT + line for line in _stretched(spec))]

    return combine_modules(
        {"exact": exact, "summed": summed}, kernel, title=title, notes=notes
    )


def _stretched(spec: KernelSpec) -> list[str]:
    """Prints the sum, the kernel of the sum of logits stretched over output axes."""
    lead = 1 if spec.matched else 2
    rank = lead + len(spec.result_axes)
    if rank == lead:
        return ["return exact + summed"]
    lines = [
        f"summed = summed.reshape(*summed.shape, {', '.join(['1'] * (rank - lead))})"
    ]
    axis = lead
    for output_axis, size in enumerate(spec.output_shape):
        if output_axis in spec.full_axes:
            after = ", ".join(["1"] * (rank - axis - 2))
            shape = f"{size}, {size}" + (f", {after}" if after else "")
            eye = f"jnp.eye({size}, dtype=summed.dtype)"
            lines.append(f"summed = summed * {eye}.reshape({shape})")
            axis += 2
        elif output_axis in spec.diagonal_axes:
            axis += 1
    return [*lines, "return exact + summed"]
