"""Values that all paths from some leaves to the output pass: where a model may be cut.

Upstream of such a value v of one example the kernel of the outputs is that of v,
between the derivatives G = d output / d v of both examples:

    Theta[n,m,o,p] = sum over c, d of G[n,o,c] Theta_cut[n,m,c,d] G[m,p,d]
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax

from ntkplan._jax import Var, array_dtype, array_shape, new_variable
from ntkplan.ir.equation import Body, Equation
from ntkplan.ir.graph import KernelGraph, Leaf, Output, build_graph
from ntkplan.ir.use import Layer, Stack, Use
from ntkplan.trace.derivatives import passes_no_derivative
from ntkplan.trace.jaxpr import applied, only_output
from ntkplan.trace.layers import free_number

CUT = "cut"
"""Names the values at a cut among the labels."""

CUT_PATH = "(cut)"
"""Stands for a cut among the paths of leaves."""

MOST_BOTTLENECKS = 3
"""How many are worth looking at: one narrower, or one with more leaves behind it."""

WIDEST = 1.0
"""A bottleneck has fewer values than this times the vectors of the output basis."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bottleneck:
    """A value of one example that all paths from some leaves to the output pass.

    Attributes:
        variable: The value.
        size: How many numbers it is.
        equation: The equation that defines it.
        paths: The paths of the leaves behind it.
    """

    variable: Var
    size: int
    equation: Equation
    paths: frozenset[str]

    def describe(self) -> str:
        """Says where the value is, as `tanh (model.py:12) [64]`."""
        shape = "x".join(str(size) for size in array_shape(self.variable) if size > 1)
        source = f" ({self.equation.source})" if self.equation.source else ""
        return f"{self.equation.primitive.name}{source} [{shape or '1'}]"


def bottlenecks(
    graph: KernelGraph, layers: Sequence[Layer], n_basis: int
) -> tuple[Bottleneck, ...]:
    """Finds where cutting a model may pay, the ones with most leaves behind them first.

    Of those with the same leaves behind them the narrowest is kept, and one is left out
    where another has all its leaves behind it and is no wider.

    Args:
        graph: The model of one example, as it was traced.
        layers: Its layers that are not idle.
        n_basis: Vectors in the output basis.
    """
    found = _all_bottlenecks(graph, layers, n_basis * WIDEST)
    kept: list[Bottleneck] = []
    # Later ones first: fewer equations are pulled back through for every output.
    for item in sorted(found, key=lambda item: (item.size, -_number(graph, item))):
        if not any(item.paths <= other.paths for other in kept):
            kept.append(item)
    by_leaves = sorted(kept, key=lambda item: -len(item.paths))
    few = by_leaves[:MOST_BOTTLENECKS]
    if kept and kept[0] not in few:
        few[-1] = kept[0]
    return tuple(few)


def _number(graph: KernelGraph, item: Bottleneck) -> int:
    return graph.definition(item.variable) or 0


def _all_bottlenecks(
    graph: KernelGraph, layers: Sequence[Layer], size_limit: float
) -> list[Bottleneck]:
    output = graph.output.variable
    if not isinstance(output, Var):
        return []
    equations = graph.body.equations
    silent = {
        number for number, item in enumerate(equations) if passes_no_derivative(item)
    }
    starts = {layer.leaf.variable: layer.leaf.path for layer in layers}
    behind: dict[Var, set[str]] = {}
    for start, passed in graph.passages(output, starts, silent).items():
        for variable in passed:
            behind.setdefault(variable, set()).add(starts[start])
    per_example = graph.downstream(graph.data)
    found: list[Bottleneck] = []
    for variable, paths in behind.items():
        size, number = math.prod(array_shape(variable)), graph.definition(variable)
        if number is None or variable not in per_example or size >= size_limit:
            continue
        if jax.numpy.issubdtype(array_dtype(variable), jax.numpy.floating):
            found.append(
                Bottleneck(
                    variable=variable,
                    size=size,
                    equation=equations[number],
                    paths=frozenset(paths),
                )
            )
    return found


def upstream_model(
    graph: KernelGraph, bottleneck: Bottleneck, *, whole_batch: bool
) -> KernelGraph:
    """Returns the model whose output is a bottleneck's value, as one axis.

    Only the leaves behind the bottleneck are differentiated in it.

    Args:
        graph: The model of one example, as it was traced.
        bottleneck: Where it ends.
        whole_batch: Whether the example is a whole batch, without an example axis.
    """
    variable, size = bottleneck.variable, bottleneck.size
    body = only_output(dataclasses.replace(graph.body, outputs=(variable,)), 0)
    shape = (size,) if whole_batch else (1, size)
    if array_shape(variable) != shape:
        body = _reshaped(body, variable, shape)
    return dataclasses.replace(
        graph,
        body=body,
        graph=build_graph(body.equations),
        leaves=tuple(
            dataclasses.replace(leaf, differentiated=leaf.path in bottleneck.paths)
            for leaf in graph.leaves
        ),
        output=Output(
            variable=body.outputs[0], shape=(size,), dtype=str(array_dtype(variable))
        ),
    )


def _reshaped(body: Body, variable: Var, shape: tuple[int, ...]) -> Body:
    equations, constants, outputs = applied(
        lambda value: jax.numpy.reshape(value, shape), variable
    )
    return Body(
        inputs=body.inputs,
        constants=(*body.constants, *constants),
        equations=(*body.equations, *equations),
        outputs=outputs,
    )


def cut_layer(layers: Sequence[Layer], bottleneck: Bottleneck) -> Layer:
    """Returns what stands for all leaves behind a bottleneck: a tap on its value.

    Args:
        layers: All layers of the model, whose arrays are numbered.
        bottleneck: Where the model is cut.
    """
    variable = bottleneck.variable
    use = Use(
        rule=CUT,
        tap=variable,
        value=(CUT,),
        parameter=(),
        sizes={CUT: bottleneck.size},
    )
    leaf = Leaf(
        path=CUT_PATH,
        access=None,
        shape=(bottleneck.size,),
        dtype=str(array_dtype(variable)),
        variable=new_variable(variable.aval),
        differentiated=True,
    )
    stack = Stack(uses=(use,), cotangents_id=free_number(layers))
    return Layer(leaf=leaf, stacks=(stack,))
