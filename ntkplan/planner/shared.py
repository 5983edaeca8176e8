"""Work that leaves share: forward passes, the backward sweep, the push forward."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from ntkplan._jax import Var
from ntkplan.cost.symbols import Size
from ntkplan.cost.work import Work, joined
from ntkplan.ir.use import Layer
from ntkplan.planner.held import Counts, shared_bytes
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.study import Study
from ntkplan.rules.equation_work import Counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedWork:
    """What one division of the leaves into tapped and pushed ones shares.

    Attributes:
        forward: Forward passes.
        sweep: The backward sweep of the tapped leaves, and the tangents of small ones.
        push: Pull-backs and push-forwards of the pushed leaves.
        resident_bytes: Bytes that stay alive while the leaves' own parts run.
        passes_bytes: Most bytes alive during the sweep and during the push.
    """

    forward: Price
    sweep: Price
    push: Price
    resident_bytes: float
    passes_bytes: float

    def peak_bytes(self, own_bytes: Iterable[float]) -> float:
        """Returns the most bytes alive where leaves take turns.

        Args:
            own_bytes: What each leaf needs in its own part.
        """
        return max(self.passes_bytes, self.resident_bytes + max(own_bytes))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sharing:
    """Says what divisions of the leaves share, given the tapped and the pushed.

    Attributes:
        bytes_of: Counts the memory, as `shared_bytes`.
        work_of: Prices the work, with the memory.
    """

    bytes_of: Callable[[Sequence[Layer], Sequence[Layer]], tuple[float, float]]
    work_of: Callable[[Sequence[Layer], Sequence[Layer]], SharedWork]

    @classmethod
    def at_once(cls, problem: Problem) -> Sharing:
        """Returns what is shared where the kernel is computed all at once."""
        return cls(
            bytes_of=functools.partial(shared_bytes, problem),
            work_of=functools.partial(shared_work, problem),
        )


def shared_work(
    problem: Problem, tapped: Sequence[Layer], pushed: Sequence[Layer]
) -> SharedWork:
    """Prices what a division of the leaves shares.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.
    """
    resident, passes = shared_bytes(problem, tapped, pushed)
    n = problem.n_points
    return SharedWork(
        forward=problem.pass_price(problem.study.forward, n=n, alone=True),
        sweep=sweep_price(problem, tapped, n=n, columns=problem.n_basis),
        push=push_price(problem, pushed),
        resident_bytes=resident,
        passes_bytes=passes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pass:
    """A pass over the model, and how often it is made.

    Attributes:
        counted: The pass.
        n: Examples.
        columns: Tangents or cotangents of each.
        times: How often, over the same memory.
        in_loop: Whether a loop makes it so often.
    """

    counted: Counted
    n: Size
    columns: Size = 1
    times: Size = 1
    in_loop: bool = False

    @property
    def work(self) -> Work:
        """Its work; what is alive at once is left open."""
        made = self.counted.at(
            n=self.n, columns=self.columns, times=self.times, in_loop=self.in_loop
        )
        return Work(operations=made.operations)

    def price(self, problem: Problem) -> Price:
        """Returns its price, where it is written in numbers."""
        return problem.pass_price(
            self.counted,
            n=cast(int, self.n),
            columns=cast(int, self.columns),
            times=cast(int, self.times),
            in_loop=self.in_loop,
        )


def _sweep(
    study: Study, tapped: Sequence[Layer], *, n: Size, columns: Size, times: int = 1
) -> list[_Pass]:
    """Returns the derivatives of tapped leaves, those by tangents among them."""
    moved = study.moved(tapped)
    passes: list[_Pass] = []
    in_loop = times > 1
    if moved.pulled:
        counted = study.sweep(moved.pulled)
        passes.append(
            _Pass(counted=counted, n=n, columns=columns, times=times, in_loop=in_loop)
        )
    if moved.pushed:
        counted = study.push(moved.pushed)
        passes.append(
            _Pass(
                counted=counted,
                n=n,
                columns=moved.n_tangents,
                times=times,
                in_loop=in_loop,
            )
        )
    return passes


def sweep_price(
    problem: Problem, tapped: Sequence[Layer], *, n: int, columns: int, times: int = 1
) -> Price:
    """Prices the derivatives of tapped leaves, those by tangents among them.

    Args:
        problem: The kernel.
        tapped: The leaves.
        n: Examples.
        columns: Vectors of the output basis.
        times: How often a loop takes them.
    """
    passes = _sweep(problem.study, tapped, n=n, columns=columns, times=times)
    return sum((each.price(problem) for each in passes), Price())


def _push(
    problem: Problem, leaves: Sequence[Var], counts: Counts, rows: int
) -> list[_Pass]:
    """Returns NTK-vector products, a column for each example and basis vector."""
    study = problem.study
    active = study.active(leaves)
    columns = counts.n2 * counts.basis * rows
    points = 1 if problem.spec.matched else counts.n1
    swept, pushed = study.sweep(active), study.push(active)
    return [
        _Pass(counted=study.forward, n=counts.n1, times=rows, in_loop=rows > 1),
        _Pass(counted=study.forward, n=1, times=counts.n2 * rows, in_loop=True),
        _Pass(counted=swept, n=1, times=columns, in_loop=True),
        _Pass(counted=pushed, n=points, times=columns, in_loop=True),
    ]


def push_price(problem: Problem, pushed: Sequence[Layer], *, rows: int = 1) -> Price:
    """Prices NTK-vector products, the iterations of their loops among it.

    Args:
        problem: The kernel.
        pushed: Leaves that are pushed forward.
        rows: How often a loop makes them.
    """
    if not pushed:
        return Price()
    leaves = [layer.leaf.variable for layer in pushed]
    passes = _push(problem, leaves, Counts.of(problem, symbolic=False), rows)
    loops = problem.n2 * problem.n_basis * rows
    loops_s = problem.profile.launch.loop_overhead_s * loops
    return sum((each.price(problem) for each in passes), Price(seconds=loops_s))


def push_at_least_s(
    problem: Problem, pushed: Sequence[Layer], *, rows: int = 1
) -> Iterator[float]:
    """Bounds the time of NTK-vector products from below, closer every time.

    First it is that of the products of what is pushed forward, and of the iterations of
    the loops; then also that of the products of what is pulled back.

    Args:
        problem: The kernel.
        pushed: Leaves that are pushed forward.
        rows: How often a loop makes them.
    """
    study = problem.study
    active = study.active(layer.leaf.variable for layer in pushed)
    columns = problem.n2 * problem.n_basis * rows
    points = 1 if problem.spec.matched else problem.n1
    seconds = problem.profile.launch.loop_overhead_s * columns
    for counted_of, n in ((study.push_unfused, points), (study.sweep_unfused, 1)):
        counted = counted_of(active)
        price = problem.pass_price(counted, n=n, times=columns, in_loop=True)
        seconds += price.seconds
        yield seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class SymbolicWork:
    """The shared work of one division of the leaves, in symbols.

    Attributes:
        forward: Forward passes.
        sweep: The backward sweep of the tapped leaves, and the tangents of small ones.
        push: Pull-backs and push-forwards of the pushed leaves.
    """

    forward: Work
    sweep: Work
    push: Work


def symbolic_work(
    problem: Problem, tapped: Sequence[Layer], pushed: Sequence[Layer]
) -> SymbolicWork:
    """Writes what a division of the leaves shares in symbols.

    Args:
        problem: The kernel.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.
    """
    study = problem.study
    counts = Counts.of(problem, symbolic=True)
    sweep = _sweep(study, tapped, n=counts.points, columns=counts.basis)
    push: list[_Pass] = []
    if pushed:
        push = _push(problem, [layer.leaf.variable for layer in pushed], counts, 1)
    return SymbolicWork(
        forward=study.forward.at(n=counts.points),
        sweep=joined(each.work for each in sweep),
        push=joined(each.work for each in push),
    )
