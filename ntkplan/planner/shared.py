"""Work that leaves share: forward passes, the backward sweep, the push forward."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ntkplan._jax import Var, array_shape
from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Operation, Work, repeated
from ntkplan.ir.use import Layer
from ntkplan.planner.problem import Problem
from ntkplan.planner.study import Study


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
    counts = Counts.of(problem, symbolic=symbolic)
    push, loops = Work(), 0
    if pushed:
        push, loops = push_work(
            problem, [layer.leaf.variable for layer in pushed], counts
        )
    held = held_bytes(problem, tapped)
    resident = resident_bytes(problem, tapped)
    return SharedWork(
        forward=study.forward.at(n=counts.points),
        sweep=sweep_work(study, tapped, n=counts.points, columns=counts.basis),
        push=push,
        loops=loops,
        resident_bytes=resident,
        sweep_bytes=resident + problem.n_points * held.sweep_bytes,
    )


def resident_bytes(problem: Problem, tapped: Sequence[Layer]) -> float:
    """Counts what stays alive while the leaves' own parts run.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
    """
    held = held_bytes(problem, tapped)
    kernels = 1 if problem.profile.fuses_products else 2  # the sum so far, and the next
    sides = problem.n_points * held.side_bytes
    return held.fixed_bytes + kernels * held.kernel_bytes + sides


def sweep_work(
    study: Study, tapped: Sequence[Layer], *, n: Size, columns: Size
) -> Work:
    """Counts the derivatives of tapped leaves, those by tangents among them.

    Args:
        study: The model.
        tapped: The leaves.
        n: Examples.
        columns: Vectors of the output basis.
    """
    pulled, pushed, n_tangents = _moved(study, tapped)
    operations: list[Operation] = []
    if pulled:
        operations += study.sweep(pulled).at(n=n, columns=columns).operations
    if pushed:
        operations += study.push(pushed).at(n=n, columns=n_tangents).operations
    return Work(operations=tuple(operations))


def _moved(
    study: Study, tapped: Sequence[Layer]
) -> tuple[frozenset[Var], frozenset[Var], int]:
    """Returns what cotangents pass, what tangents pass, and how many these are."""
    taps = [tap for layer in tapped if not layer.by_tangents for tap in layer.taps]
    leaves = [layer.leaf for layer in tapped if layer.by_tangents]
    return (
        study.active(taps),
        study.active(leaf.variable for leaf in leaves),
        sum(leaf.size for leaf in leaves),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """What is held in memory while leaves' own parts run.

    Attributes:
        fixed_bytes: Parameters and all examples.
        kernel_bytes: The kernel.
        side_bytes: Activations and cotangents of one example.
        sweep_bytes: What the backward sweep of one example needs beyond these.
    """

    fixed_bytes: float
    kernel_bytes: float
    side_bytes: float
    sweep_bytes: float


def held_bytes(problem: Problem, tapped: Sequence[Layer]) -> Held:
    """Counts what is held for the tapped leaves.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
    """
    study, spec = problem.study, problem.spec
    taps = dict.fromkeys(tap for layer in tapped for tap in layer.taps)
    uses = [use for layer in tapped for stack in layer.stacks for use in stack.uses]
    recorded = dict.fromkeys(
        variable
        for use in uses
        for variable in (
            use.recorded,
            *(factor.variable for factor in use.factors if not factor.shared),
        )
        if variable is not None
    )
    pulled, pushed, n_tangents = _moved(study, tapped)
    pairs = problem.n1 if spec.matched else problem.n1 * problem.n2
    parameters = sum(leaf.size for leaf in study.graph.leaves)
    data = sum(map(_entries, study.graph.data))
    side = sum(map(_entries, recorded)) + problem.n_basis * sum(map(_entries, taps))
    size = study.itemsize
    return Held(
        fixed_bytes=size * (parameters + problem.n_points * data),
        kernel_bytes=size * pairs * spec.n_full**2 * spec.n_diagonal,
        side_bytes=size * side,
        sweep_bytes=size
        * max(_passing(pulled, problem.n_basis), _passing(pushed, n_tangents)),
    )


def _passing(active: Collection[Var], columns: int) -> int:
    """Counts entries of cotangents, or tangents, on their way and the values there."""
    sizes = [_entries(variable) for variable in active]
    return 2 * max(sizes, default=0) * columns + sum(sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """How many examples and basis vectors there are, in numbers or in symbols."""

    n1: Size
    n2: Size
    points: Size
    basis: Size

    @classmethod
    def of(cls, problem: Problem, *, symbolic: bool) -> Counts:
        """Returns the counts of a problem.

        Args:
            problem: The kernel's sizes.
            symbolic: Whether to return symbols where there are such.
        """
        if not symbolic or problem.spec.whole_batch:
            n1, n2, basis = problem.n1, problem.n2, problem.n_basis
        else:
            n1 = symbols.n1
            n2 = symbols.n1 if problem.symmetric else symbols.n2
            basis = problem.spec.n_basis
            if basis > 1 and not problem.study.fixed_outputs:
                basis = symbols.n_outputs
        points = n1 if problem.symmetric else n1 + n2
        return cls(n1=n1, n2=n2, points=points, basis=basis)


def push_work(
    problem: Problem, leaves: Sequence[Var], counts: Counts
) -> tuple[Work, Size]:
    """Counts NTK-vector products, a column for each example and basis vector.

    Args:
        problem: The kernel.
        leaves: Leaves that are pushed forward.
        counts: Its sizes, in numbers or in symbols.

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


def _entries(variable: Var) -> int:
    return math.prod(array_shape(variable))
