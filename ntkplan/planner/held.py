"""What the leaves of a kernel hold in memory together, in numbers or in symbols."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar, cast

from ntkplan.cost import symbols
from ntkplan.cost.symbols import Size, most, product
from ntkplan.ir.use import Layer
from ntkplan.planner.problem import Problem


def shared_bytes(
    problem: Problem, tapped: Sequence[Layer], pushed: Sequence[Layer]
) -> tuple[float, float]:
    """Counts the memory of what a division shares, which is sooner found than its time.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.

    Returns:
        The bytes that stay alive while the leaves' own parts run, and the most that are
        alive during the sweep and during the push.
    """
    counts = Counts.of(problem, symbolic=False)
    sizes = shared_sizes(problem, tapped, pushed, counts)
    return cast("tuple[float, float]", sizes)


def shared_sizes(
    problem: Problem, tapped: Sequence[Layer], pushed: Sequence[Layer], counts: Counts
) -> tuple[Size, Size]:
    """Counts the memory of what a division shares, in numbers or in symbols.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        pushed: Leaves that are pushed forward.
        counts: These in numbers or in symbols.

    Returns:
        What `shared_bytes` returns.
    """
    held = held_sizes(problem, tapped, counts)
    kernels = 1 if problem.profile.fuses_products else 2  # the sum so far, and the next
    sides = counts.points * held.side_bytes
    resident = held.fixed_bytes + kernels * held.kernel_bytes + sides
    swept = counts.points * held.sweep_bytes
    return resident, resident + most(swept, pushed_size(problem, pushed, counts))


def resident_bytes(problem: Problem, tapped: Sequence[Layer]) -> float:
    """Counts what stays alive while the leaves' own parts run.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
    """
    resident, _ = shared_bytes(problem, tapped, ())
    return resident


def pushed_bytes(problem: Problem, pushed: Sequence[Layer]) -> float:
    """Counts what NTK-vector products need beside what is resident, see `pushed_size`.

    Args:
        problem: The kernel's sizes.
        pushed: Leaves that are pushed forward.
    """
    counts = Counts.of(problem, symbolic=False)
    return cast(float, pushed_size(problem, pushed, counts))


def pushed_size(problem: Problem, pushed: Sequence[Layer], counts: Counts) -> Size:
    """Counts what NTK-vector products need beside what is resident.

    The model is linearised at all examples of `x1` before the first tangent is pushed,
    and at one example of `x2` at a time.

    Args:
        problem: The kernel's sizes.
        pushed: Leaves that are pushed forward.
        counts: These in numbers or in symbols.

    Returns:
        Bytes.
    """
    if not pushed:
        return 0
    study, memory = problem.study, problem.profile.memory
    leaves = [layer.leaf.variable for layer in pushed]
    found = study.linearized(study.active(leaves))
    kept, early = found.residuals, found.early
    if not problem.profile.fuses_products:
        early = early.plus(found.copied)
    points = 1 if problem.spec.matched else counts.n1
    moved = study.tangents_moved(leaves)
    pushing = (
        kept.examples + early.examples + study.itemsize * moved.moving(1, copied=False)
    )
    at_first = points * pushing + kept.once + early.once
    back = study.itemsize * moved.moving(1, copied=memory.copies_operands)
    at_second = kept.examples + kept.once + back
    tangents = study.itemsize * sum(layer.leaf.size for layer in pushed)
    # Where a leaf is used several times: the tangent so far, and what is added to it.
    return at_first + at_second + 2 * tangents


_Bytes = TypeVar("_Bytes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held(Generic[_Bytes]):
    """What is held in memory while leaves' own parts run.

    Attributes:
        fixed_bytes: Parameters and all examples.
        kernel_bytes: The kernel.
        side_bytes: Activations and cotangents of one example.
        sweep_bytes: What the backward sweep of one example needs beyond these.
    """

    fixed_bytes: _Bytes
    kernel_bytes: _Bytes
    side_bytes: _Bytes
    sweep_bytes: _Bytes


def held_bytes(problem: Problem, tapped: Sequence[Layer]) -> Held[float]:
    """Counts what is held for the tapped leaves.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
    """
    counts = Counts.of(problem, symbolic=False)
    return cast("Held[float]", held_sizes(problem, tapped, counts))


def held_sizes(problem: Problem, tapped: Sequence[Layer], counts: Counts) -> Held[Size]:
    """Counts what is held for the tapped leaves, in numbers or in symbols.

    Args:
        problem: The kernel's sizes.
        tapped: Leaves whose uses are tapped.
        counts: These in numbers or in symbols.
    """
    study, spec = problem.study, problem.spec
    moved = study.moved(tapped)
    basis, size = counts.basis, study.itemsize
    pairs = counts.n1 if spec.matched else product(counts.n1, counts.n2)
    # A group of outputs that is all of them has their symbol.
    n_full, n_diagonal = (
        basis if problem.outputs is None and group == spec.n_basis else group
        for group in (spec.n_full, spec.n_diagonal)
    )
    copied = problem.profile.memory.copies_operands
    passing = most(
        moved.of_pulled.passing(basis, copied=copied),
        moved.of_pushed.passing(moved.n_tangents, copied=copied),
    )
    return Held(
        fixed_bytes=study.parameter_bytes + size * counts.points * study.data_entries,
        kernel_bytes=product(size, pairs, n_full, n_full, n_diagonal),
        side_bytes=size * (moved.recorded_entries + basis * moved.tap_entries),
        sweep_bytes=size * passing,
    )


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
