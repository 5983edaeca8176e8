"""Work that leaves share: forward passes, the backward sweep, the push forward."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Work, repeated
from ntkplan.ir.use import Layer
from ntkplan.planner.problem import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedWork:
    """The shared work of one division of the leaves into tapped and pushed ones.

    Attributes:
        forward: Forward passes.
        sweep: The backward sweep of the tapped leaves, and the tangents of small ones.
        push: Pull-backs and push-forwards of the pushed leaves.
        loops: Iterations of loops that the push forward takes.
        resident_bytes: Bytes that stay alive while the leaves' own parts run.
        sweep_bytes: Most bytes alive during the sweep.
    """

    forward: Work
    sweep: Work
    push: Work
    loops: Size
    resident_bytes: float
    sweep_bytes: float


def shared_work(
    problem: Problem,
    tapped: Sequence[Layer],
    pushed: Sequence[Layer],
    *,
    symbolic: bool = False,
) -> SharedWork:
    """Counts what a division of the leaves shares.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.
        symbolic: Whether to write the work in symbols, instead of at the problem's
            sizes. Bytes stay numbers.
    """
    study = problem.study
    counts = _Counts.of(problem, symbolic=symbolic)
    by_tangents = [layer.leaf for layer in tapped if layer.by_tangents]
    taps = [tap for layer in tapped if not layer.by_tangents for tap in layer.taps]
    active = study.active(taps)
    sweep = Work()
    if taps:
        sweep = study.sweep(active).at(n=counts.points, columns=counts.basis)
    sweep_bytes = _passing_bytes(problem, active, problem.spec.n_basis)
    if by_tangents:
        moved = study.active(leaf.variable for leaf in by_tangents)
        columns = sum(leaf.size for leaf in by_tangents)
        added = study.push(moved).at(n=counts.points, columns=columns)
        sweep = Work(operations=(*sweep.operations, *added.operations))
        sweep_bytes = max(sweep_bytes, _passing_bytes(problem, moved, columns))
    push, loops = Work(), 0
    if pushed:
        push, loops = _push(problem, [layer.leaf.variable for layer in pushed], counts)
    every_tap = list(dict.fromkeys(tap for layer in tapped for tap in layer.taps))
    resident = _resident_bytes(problem, every_tap, tapped)
    return SharedWork(
        forward=study.forward.at(n=counts.points),
        sweep=sweep,
        push=push,
        loops=loops,
        resident_bytes=resident,
        sweep_bytes=resident + sweep_bytes,
    )


def _passing_bytes(problem: Problem, active: Collection[Var], columns: int) -> float:
    """Counts what cotangents, or tangents, need on their way, with the values there."""
    sizes = [_entries(variable) for variable in active]
    per_point = 2 * max(sizes, default=0) * columns + sum(sizes)
    return problem.study.itemsize * problem.n_points * per_point


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Counts:
    """How many examples and basis vectors there are, in numbers or in symbols."""

    n1: Size
    n2: Size
    points: Size
    basis: Size

    @classmethod
    def of(cls, problem: Problem, *, symbolic: bool) -> _Counts:
        if not symbolic or problem.spec.whole_batch:
            n1, n2, basis = problem.n1, problem.n2, problem.spec.n_basis
        else:
            n1 = symbols.n1
            n2 = symbols.n1 if problem.symmetric else symbols.n2
            basis = problem.spec.n_basis
            if basis > 1 and not problem.study.fixed_outputs:
                basis = symbols.n_outputs
        points = n1 if problem.symmetric else n1 + n2
        return cls(n1=n1, n2=n2, points=points, basis=basis)


def _push(
    problem: Problem, leaves: Sequence[Var], counts: _Counts
) -> tuple[Work, Size]:
    """Counts NTK-vector products, a column for each example and basis vector.

    Returns:
        The work, and the iterations of its loops.
    """
    study = problem.study
    active = study.active(leaves)
    columns = counts.n2 * counts.basis
    points = 1 if problem.spec.matched else counts.n1
    pulled = study.sweep(active).at(n=1).operations
    pushed = study.push(active).at(n=points).operations
    operations = (
        *study.forward.at(n=counts.n1).operations,
        *repeated(study.forward.at(n=1).operations, counts.n2, in_loop=True),
        *repeated(pulled, columns, in_loop=True),
        *repeated(pushed, columns, in_loop=True),
    )
    return Work(operations=operations, peak_bytes=0), columns


def _resident_bytes(
    problem: Problem, taps: Sequence[Var], tapped: Sequence[Layer]
) -> float:
    """Counts what is alive beside a leaf's own part.

    Parameters, inputs, the kernel and its running sum, cotangents and activations.
    """
    graph, spec = problem.study.graph, problem.spec
    recorded = dict.fromkeys(
        use.recorded
        for layer in tapped
        for stack in layer.stacks
        for use in stack.uses
        if use.recorded is not None
    )
    per_point = sum(map(_entries, graph.data)) + sum(map(_entries, recorded))
    per_point += spec.n_basis * sum(map(_entries, taps))
    pairs = problem.n1 if spec.matched else problem.n1 * problem.n2
    kernel = pairs * spec.n_full**2 * spec.n_diagonal
    parameters = sum(leaf.size for leaf in graph.leaves)
    entries = parameters + problem.n_points * per_point + 2 * kernel
    return float(problem.study.itemsize * entries)


def _entries(variable: Var) -> int:
    return math.prod(array_shape(variable))
