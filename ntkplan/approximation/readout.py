"""Which leaves belong to the readout: no data stands between them and the output."""

from __future__ import annotations

from collections.abc import Sequence

from ntkplan._jax import Var
from ntkplan.ir.equation import Equation
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.use import Layer

_LINEAR = frozenset(
    {
        "add",
        "add_any",
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "copy",
        "neg",
        "pad",
        "reduce_sum",
        "reshape",
        "rev",
        "slice",
        "squeeze",
        "sub",
        "transpose",
    }
)

# Linear in one operand, as long as the other holds no data.
_BILINEAR = frozenset({"conv_general_dilated", "dot_general", "mul"})


def readout_paths(graph: KernelGraph, layers: Sequence[Layer]) -> frozenset[str]:
    """Returns the leaves whose uses reach the output linearly, without data on the way.

    Args:
        graph: The model of one example.
        layers: Its layers.
    """
    data = graph.downstream(graph.data)
    return frozenset(
        layer.leaf.path
        for layer in layers
        if all(_reaches_linearly(graph, tap, data) for tap in layer.taps)
    )


def _reaches_linearly(graph: KernelGraph, tap: Var, data: frozenset[Var]) -> bool:
    moving = graph.downstream((tap,))
    readers = [
        equation
        for equation in graph.body.equations
        if not moving.isdisjoint(equation.reads)
    ]
    return all(_is_linear(equation, moving, data) for equation in readers)


def _is_linear(
    equation: Equation, moving: frozenset[Var], data: frozenset[Var]
) -> bool:
    name = equation.primitive.name
    if name in _LINEAR:
        return True
    still = [variable for variable in equation.reads if variable not in moving]
    if name == "div":
        divisor = equation.inputs[1]
        if not isinstance(divisor, Var):
            return True
        return divisor not in moving and divisor not in data
    if name not in _BILINEAR:
        return False
    once = len(still) == len(equation.reads) - 1
    return once and data.isdisjoint(still)
