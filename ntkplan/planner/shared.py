"""Work that leaves share: forward passes, the backward sweep, the push forward."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy

from ntkplan._jax import Var, array_shape
from ntkplan.cost import symbols
from ntkplan.cost.formulas import seconds
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Operation, Work
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.use import Layer
from ntkplan.rules.equation_work import forward_work, push_work, sweep_work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """How large the kernel is, and on what it runs.

    Attributes:
        graph: The model of one example.
        spec: The kernel.
        n1: Examples in `x1`.
        n2: Examples in `x2`; as many as in `x1` where it is absent.
        symmetric: Whether `x2` is absent.
        profile: The device.
        dtype: The data type that most of the work is done in.
        precision: Name of the precision of every contraction, or None.
    """

    graph: KernelGraph
    spec: KernelSpec
    n1: int
    n2: int
    symmetric: bool
    profile: DeviceProfile
    dtype: str
    precision: str | None

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 2 if self.dtype == "bfloat16" else numpy.dtype(self.dtype).itemsize

    @property
    def n_points(self) -> int:
        """Examples at which the model is evaluated."""
        return self.n1 if self.symmetric else self.n1 + self.n2

    def seconds(self, work: Work) -> float:
        """Prices numeric work on the problem's device."""
        return seconds(work, self.profile, dtype=self.dtype, precision=self.precision)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedWork:
    """The shared work of one division of the leaves into tapped and pushed ones.

    Attributes:
        forward: Forward passes.
        sweep: The backward sweep of the tapped leaves.
        push: Pull-backs and push-forwards of the pushed leaves.
        push_starts: Forward passes of one example and of all of `x1`, where a push
            needed them.
        loops: Iterations of loops that the push forward takes.
        resident_bytes: Bytes that stay alive while the leaves' own parts run.
        sweep_bytes: Most bytes alive during the sweep.
    """

    forward: Work
    sweep: Work
    push: Work
    push_starts: tuple[Work, ...]
    loops: Size
    resident_bytes: float
    sweep_bytes: float


def shared_work(
    problem: Problem,
    tapped: Sequence[Layer],
    pushed: Sequence[Layer],
    *,
    known: SharedWork | None = None,
    symbolic: bool = False,
) -> SharedWork:
    """Counts what a division of the leaves shares.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.
        known: What another division shares: all forward passes are the same.
        symbolic: Whether to write the work in symbols, instead of at the problem's
            sizes. Bytes stay numbers.
    """
    graph, itemsize = problem.graph, problem.itemsize
    equations, given = graph.body.equations, graph.shared_variables
    counts = _Counts.of(problem, symbolic=symbolic)
    taps = list(dict.fromkeys(tap for layer in tapped for tap in layer.taps))
    forward = (
        forward_work(equations, n=counts.points, itemsize=itemsize, shared=given)
        if known is None
        else known.forward
    )
    sweep = Work()
    active = _active(graph, taps)
    if taps:
        sweep = sweep_work(
            equations, active, n=counts.points, n_outputs=counts.basis, shared=given
        )
    push, loops = Work(), 0
    starts = () if known is None else known.push_starts
    if pushed:
        starts = starts or tuple(
            forward_work(equations, n=n, itemsize=itemsize, shared=given)
            for n in (1, counts.n1)
        )
        variables = [layer.leaf.variable for layer in pushed]
        push, loops = _push(problem, variables, counts, starts)
    resident = _resident_bytes(problem, taps, tapped)
    largest = max((_entries(variable) for variable in active), default=0)
    return SharedWork(
        forward=forward,
        sweep=sweep,
        push=push,
        push_starts=starts,
        loops=loops,
        resident_bytes=resident,
        sweep_bytes=resident
        + itemsize
        * problem.n_points
        * (
            2 * largest * problem.spec.n_basis
            + sum(_entries(variable) for variable in active)
        ),
    )


def _active(graph: KernelGraph, variables: Iterable[Var]) -> frozenset[Var]:
    """Returns the variables through which cotangents flow back to the given ones."""
    outputs = [atom for atom in graph.body.outputs if isinstance(atom, Var)]
    return graph.downstream(variables) & graph.upstream(outputs)


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
            basis = 1 if problem.spec.n_basis == 1 else symbols.n_outputs
        points = n1 if problem.symmetric else n1 + n2
        return cls(n1=n1, n2=n2, points=points, basis=basis)


def _push(
    problem: Problem, leaves: Sequence[Var], counts: _Counts, starts: Sequence[Work]
) -> tuple[Work, Size]:
    """Counts NTK-vector products, a column for each example and basis vector.

    Returns:
        The work, and the iterations of its loops.
    """
    equations, given = problem.graph.body.equations, problem.graph.shared_variables
    active = _active(problem.graph, leaves)
    columns = counts.n2 * counts.basis
    points = 1 if problem.spec.matched else counts.n1
    once, linearized = starts
    pulled = sweep_work(equations, active, n=1, n_outputs=1, shared=given)
    pushed = push_work(equations, active, n=points, columns=1, shared=given)
    operations = (
        *linearized.operations,
        *_repeated(once, counts.n2),
        *_repeated(pulled, columns),
        *_repeated(pushed, columns),
    )
    return Work(operations=operations, peak_bytes=0), columns


def _repeated(work: Work, times: Size) -> tuple[Operation, ...]:
    """Counts work that a loop does again and again, as large each time as once."""
    return tuple(
        dataclasses.replace(
            operation,
            flops=operation.flops * times,
            transcendentals=operation.transcendentals * times,
            bytes_read=operation.bytes_read * times,
            bytes_written_fresh=0,
            bytes_written_reused=times
            * (operation.bytes_written_fresh + operation.bytes_written_reused),
            repeats=operation.repeats * times,
            in_loop=True,
        )
        for operation in work.operations
    )


def _resident_bytes(
    problem: Problem, taps: Sequence[Var], tapped: Sequence[Layer]
) -> float:
    """Counts what is alive beside a leaf's own part.

    Parameters, inputs, the kernel and its running sum, cotangents and activations.
    """
    graph, spec, itemsize = problem.graph, problem.spec, problem.itemsize
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
    return float(itemsize * (parameters + problem.n_points * per_point + 2 * kernel))


def _entries(variable: Var) -> int:
    return math.prod(array_shape(variable))
