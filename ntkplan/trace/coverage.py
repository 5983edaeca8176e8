"""Proof that the uses of a leaf account for every path from it to the output."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan._jax import Var
from ntkplan.errors import InternalError
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.use import Layer
from ntkplan.trace.derivatives import passes_no_derivative


def prove_covered(graph: KernelGraph, layers: Sequence[Layer]) -> None:
    """Walks every path from every leaf and checks that a use cuts it.

    The walk knows nothing of rules or prefixes: it starts at the leaf, follows every
    read that passes a derivative on, and stops only at the operands that are uses.

    Raises:
        InternalError: A path reaches the output past all uses. It is named.
    """
    differentiated = [leaf for leaf in graph.leaves if leaf.differentiated]
    if [leaf.path for leaf in differentiated] != [layer.leaf.path for layer in layers]:
        raise InternalError("layers and differentiated leaves differ", layers)
    for layer in layers:
        if layer.opaque is None:
            _prove_layer(graph, layer)


def _prove_layer(graph: KernelGraph, layer: Layer) -> None:
    used = {(use.equation, use.operand) for stack in layer.stacks for use in stack.uses}
    pending: list[tuple[Var, tuple[str, ...]]] = [(layer.leaf.variable, ())]
    seen: set[Var] = set()
    while pending:
        variable, path = pending.pop()
        if variable in seen:
            continue
        seen.add(variable)
        if graph.is_output(variable):
            steps = " -> ".join((layer.leaf.path, *path, "output"))
            raise InternalError(f"a path from a leaf is covered by no use: {steps}")
        for number, operand in graph.consumers(variable):
            equation = graph.body.equations[number]
            if (number, operand) in used or passes_no_derivative(equation):
                continue
            step = f"{equation.primitive.name} ({equation.source})"
            pending += [(output, (*path, step)) for output in equation.outputs]
