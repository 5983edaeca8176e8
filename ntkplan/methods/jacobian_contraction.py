"""Jacobian contraction: J1 and J2 in full, then their product.

Novak, Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel",
section 3.1: N O P memory, N^2 O^2 P time.
"""

from __future__ import annotations

from ntkplan.ir.program import Array, Statement, Sum
from ntkplan.ir.use import Layer
from ntkplan.methods import network
from ntkplan.methods.candidate import Candidate, Method, candidate
from ntkplan.methods.contraction import lower
from ntkplan.methods.network import Frame
from ntkplan.methods.windows import cut_windows


def candidates(layer: Layer, frame: Frame, itemsize: int) -> tuple[Candidate, ...]:
    """Returns the one candidate of this method; every leaf has it."""
    statements: list[Statement] = []
    jacobians = [_jacobian(layer, frame, number, statements) for number in (0, 1)]
    product = lower(
        ("J1", "J2"),
        {"J1": jacobians[0], "J2": jacobians[1]},
        frame.kernel_labels,
    )
    sizes = network.label_sizes(layer, frame)
    return (
        candidate(
            method=Method.JACOBIAN_CONTRACTION,
            order="J1 J2" if layer.opaque else "(C1 A1)(C2 A2)",
            statements=[*statements, *product.statements],
            results=[(product.result, _factor(layer))],
            sizes=sizes,
            itemsize=itemsize,
        ),
    )


def _factor(layer: Layer) -> float:
    """One stack's factor is applied to the small result, several to each Jacobian."""
    return layer.stacks[0].first.factor ** 2 if len(layer.stacks) == 1 else 1.0


def _jacobian(
    layer: Layer, frame: Frame, number: int, statements: list[Statement]
) -> Array:
    """Adds the statements that form the Jacobian of one side."""
    terms: list[Array] = []
    factors: list[float] = []
    example = frame.examples(number)
    parameter = layer.stacks[0].first.parameter
    kept = (example, *frame.basis(number), *parameter)
    name = f"jacobian{number + 1}"
    for index, stack in enumerate(layer.stacks):
        side = network.side(layer, stack, number, frame)
        suffix = f"_{index}" if len(layer.stacks) > 1 else ""
        role = f"C{number + 1}"
        arrays = {role: side.cotangents}
        tree = role
        if side.activations is not None:
            cut_windows(stack, side, statements)
            arrays[f"A{number + 1}"] = side.activations
            tree = (role, f"A{number + 1}")
        lowered = lower(tree, arrays, kept, suffix)
        statements += lowered.statements
        terms.append(lowered.result)
        factors.append(side.factor)
    if len(terms) == 1:
        return terms[0]
    target = Array(name=name, labels=kept)
    statements.append(Sum(target=target, terms=tuple(terms), factors=tuple(factors)))
    return target
