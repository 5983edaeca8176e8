"""The model of one example as a graph of variables and equations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Container, Iterable
from typing import Any

import networkx

from ntkplan._jax import Var
from ntkplan.ir.equation import Body, Equation


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """One array of `params`.

    Attributes:
        path: Its place in the tree, as `blocks/0/w_q`.
        access: Python text that reads it from `params`, as `["blocks"][0]["w_q"]`, or
            None where no such text is known.
        shape: Its shape.
        dtype: Its dtype's name.
        variable: The body's input that holds it.
        differentiated: Whether the kernel differentiates with respect to it.
    """

    path: str
    access: str | None
    shape: tuple[int, ...]
    dtype: str
    variable: Var
    differentiated: bool

    @property
    def size(self) -> int:
        """Number of entries."""
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One output array of one example.

    Attributes:
        variable: The body's output that holds it, with its leading unit axis.
        shape: Shape without the example axis.
        dtype: Its dtype's name.
    """

    variable: Any
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """A body, and who reads what in it.

    Attributes:
        body: The equations.
        graph: A directed graph from variables to equation numbers to variables.
    """

    body: Body
    graph: networkx.DiGraph

    def consumers(self, variable: Var) -> list[tuple[int, int]]:
        """Returns (equation number, operand number) for every read of a variable."""
        if variable not in self.graph:
            return []
        found = []
        for number in sorted(self.graph.successors(variable)):
            inputs = self.body.equations[number].inputs
            found += [
                (number, operand)
                for operand, atom in enumerate(inputs)
                if atom is variable
            ]
        return found

    def is_output(self, variable: Var) -> bool:
        """Says whether the model returns a variable as it is."""
        return any(atom is variable for atom in self.body.outputs)

    def downstream(self, variables: Iterable[Var]) -> frozenset[Var]:
        """Returns what depends on any of the given variables, these included."""
        return self._reached(variables, self.graph.successors)

    def upstream(self, variables: Iterable[Var]) -> frozenset[Var]:
        """Returns what any of the given variables depends on, these included."""
        return self._reached(variables, self.graph.predecessors)

    def _reached(
        self, variables: Iterable[Var], neighbours: Callable[[Any], Iterable[Any]]
    ) -> frozenset[Var]:
        found: set[Any] = set()
        pending = [variable for variable in variables if variable in self.graph]
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                pending.extend(neighbours(node))
        return frozenset(node for node in found if isinstance(node, Var))

    def passages(
        self, variable: Var, targets: Iterable[Var], without: Collection[int] = ()
    ) -> dict[Var, tuple[Var, ...]]:
        """Returns the variables that every path from some variables to one passes.

        Args:
            variable: Where the paths lead to.
            targets: Where they start; those from which none leads there are left out.
            without: Numbers of equations through which no path leads.

        Returns:
            For each start the variables between it and the end, in order, neither of
            the two included.
        """
        if variable not in self.graph:
            return {}
        kept = networkx.subgraph_view(
            self.graph, filter_node=lambda node: node not in without
        )
        above = networkx.immediate_dominators(kept.reverse(copy=True), variable)
        found: dict[Var, tuple[Var, ...]] = {}
        for start in targets:
            node, passed = above.get(start), []
            while node is not None and node is not variable:
                passed.append(node)
                node = above[node]
            if start in above and start is not variable:
                found[start] = tuple(item for item in passed if isinstance(item, Var))
        return found

    def definition(self, variable: Var) -> int | None:
        """Returns the number of the equation that defines a variable, if one does."""
        if variable not in self.graph:
            return None
        return next(iter(self.graph.predecessors(variable)), None)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KernelGraph(Flow):
    """A model of one example, its leaves, and who reads what.

    Attributes:
        leaves: Every leaf of `params`, in the order of the body's inputs.
        data: The body's inputs that hold the example.
        taps: Further inputs of the body: taps inside loops and branches.
        output: What the model returns.
    """

    leaves: tuple[Leaf, ...]
    data: tuple[Var, ...]
    taps: tuple[Var, ...] = ()
    output: Output

    @property
    def shared_variables(self) -> tuple[Var, ...]:
        """Inputs and constants that are the same for every example."""
        constants = tuple(variable for variable, _ in self.body.constants)
        return (*(leaf.variable for leaf in self.leaves), *constants)


def restricted(graph: KernelGraph, paths: Container[str]) -> KernelGraph:
    """Returns the model with only some of its leaves differentiated, by their paths."""
    leaves = (
        dataclasses.replace(
            leaf, differentiated=leaf.differentiated and leaf.path in paths
        )
        for leaf in graph.leaves
    )
    return dataclasses.replace(graph, leaves=tuple(leaves))


def build_graph(equations: Iterable[Equation]) -> networkx.DiGraph:
    """Connects variables through the equations that read and define them."""
    graph = networkx.DiGraph()
    for number, equation in enumerate(equations):
        for atom in equation.inputs:
            if isinstance(atom, Var):
                graph.add_edge(atom, number)
        for variable in equation.outputs:
            graph.add_edge(number, variable)
    return graph
