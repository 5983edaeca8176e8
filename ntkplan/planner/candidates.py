"""Every candidate of every leaf, priced."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Container, Sequence
from typing import cast

from ntkplan.cost.work import OperationKind, Work
from ntkplan.errors import MethodNotApplicableError
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.sharing import Key
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.shared import shared_work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One statement of a candidate, priced.

    Attributes:
        key: Equal for statements that compute the same array; None for the addition of
            the result to the kernel.
        seconds: Its time on the problem's device.
        flops: Its floating-point operations.
        bytes_moved: Bytes that it reads and writes.
    """

    key: Key | None
    seconds: float
    flops: float
    bytes_moved: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """A candidate with its work in numbers.

    Attributes:
        candidate: The candidate.
        work: Its work at the problem's sizes.
        parts: Its statements, and last the addition of the results to the kernel.
        allowed: Whether the user allows it.
        packed_bytes: What libraries hold for its largest product.
        correction: By what its estimated time was multiplied, see `corrected`.
        measured_s: Its time if it shares nothing, where it was measured.
    """

    candidate: Candidate
    work: Work
    parts: tuple[Part, ...]
    allowed: bool
    packed_bytes: float = 0.0
    correction: float = 1.0
    measured_s: float | None = None

    @functools.cached_property
    def seconds(self) -> float:
        """Its time if it shares nothing; 0 for a pushed leaf, whose work is shared."""
        return sum(part.seconds for part in self.parts)

    @functools.cached_property
    def keys(self) -> frozenset[Key]:
        """Keys of its statements."""
        return frozenset(part.key for part in self.parts if part.key is not None)

    def own(self, computed: Container[Key | None]) -> tuple[Part, ...]:
        """Returns what is left to do where some statements are computed anyway."""
        return tuple(part for part in self.parts if part.key not in computed)

    def marginal_seconds(self, computed: Container[Key | None]) -> float:
        """Returns its time where some statements are computed anyway."""
        return sum(part.seconds for part in self.own(computed))

    def corrected(self, factor: float, *, measured_s: float | None = None) -> Priced:
        """Returns the same candidate with the time of every statement multiplied.

        Args:
            factor: By what.
            measured_s: Its measured time, if that is where the factor comes from.
        """
        parts = (
            dataclasses.replace(part, seconds=part.seconds * factor)
            for part in self.parts
        )
        return dataclasses.replace(
            self,
            parts=tuple(parts),
            correction=self.correction * factor,
            measured_s=measured_s,
        )

    @property
    def pushed(self) -> bool:
        """Whether the leaf takes part in the push forward."""
        return self.candidate.method is Method.NTK_VECTOR_PRODUCTS

    @property
    def peak_bytes(self) -> float:
        """Most bytes alive at once, inputs left out."""
        return float(cast(float, self.work.peak_bytes)) + self.packed_bytes


def price(problem: Problem, request: MethodRequest) -> list[tuple[Priced, ...]]:
    """Returns the candidates of every layer, cheapest first.

    Raises:
        MethodNotApplicableError: A method that is forced on a leaf is not to be had.
    """
    study = problem.study
    pricer = _Pricer(problem)
    result: list[tuple[Priced, ...]] = []
    for layer, candidates in zip(study.layers, study.candidates, strict=True):
        # A cut is no leaf: what the user says of leaves is not said of it.
        is_cut = layer is study.cut
        allowed = tuple(Method) if is_cut else _allowed(layer, candidates, request)
        priced = (
            pricer.priced(candidate, allowed=candidate.method in allowed)
            for candidate in candidates
        )
        result.append(tuple(sorted(priced, key=lambda item: item.seconds)))
    return result


def price_chosen(problem: Problem, chosen: Sequence[Priced]) -> list[Priced]:
    """Prices candidates that were chosen at other sizes.

    Args:
        problem: The sizes.
        chosen: Candidates of its study.
    """
    pricer = _Pricer(problem)
    return [pricer.priced(item.candidate, allowed=item.allowed) for item in chosen]


class _Pricer:
    """Prices candidates of a problem's study, those of one form once."""

    def __init__(self, problem: Problem) -> None:
        study = problem.study
        self._problem = problem
        self._works = study.works(symmetric=problem.symmetric)(
            problem.n1, problem.n2, problem.n_basis
        )
        # All temporaries of a program are one allocation. Where it is large, its pages
        # are new at every call, also to a leaf that needs few of them.
        self._beside_bytes = shared_work(problem, study.layers, ()).resident_bytes
        self._known: dict[int, _Figures] = {}

    def priced(self, candidate: Candidate, *, allowed: bool) -> Priced:
        """Prices a candidate, of which it is known whether the user allows it."""
        symmetric = self._problem.symmetric
        form = id(candidate.symmetric_work if symmetric else candidate.work)
        if form not in self._known:
            counts = _counts(candidate, self._problem)
            self._known[form] = _figures(
                counts, self._works[form], self._problem, self._beside_bytes
            )
        return _priced(candidate, self._known[form], self._problem, allowed=allowed)


def pushable(
    priced: Sequence[tuple[Priced, ...]],
) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the numbers of leaves that must be pushed forward, and that can be."""
    forced = frozenset(
        number
        for number, items in enumerate(priced)
        if all(item.pushed for item in items if item.allowed)
    )
    able = frozenset(
        number
        for number, items in enumerate(priced)
        if any(item.pushed and item.allowed for item in items)
    )
    return forced, able


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Figures:
    """What candidates of one form have in common.

    Attributes:
        work: Their work at the problem's sizes.
        parts: Seconds, operations and bytes of every statement, and of the addition to
            the kernel where there is one.
        packed_bytes: What libraries hold for the largest product.
    """

    work: Work
    parts: tuple[tuple[float, float, float], ...]
    packed_bytes: float


def _counts(candidate: Candidate, problem: Problem) -> tuple[tuple[Key, int], ...]:
    return candidate.symmetric_parts if problem.symmetric else candidate.parts


def _figures(
    counts: Sequence[tuple[Key, int]], work: Work, problem: Problem, beside_bytes: float
) -> _Figures:
    pending = list(work.operations)
    peak_bytes = math.ceil(beside_bytes + cast(float, work.peak_bytes))

    def take(count: int) -> tuple[float, float, float]:
        taken = Work(operations=tuple(pending[:count]), peak_bytes=peak_bytes)
        del pending[:count]
        moved = cast(float, taken.bytes_read) + cast(float, taken.bytes_written)
        return problem.seconds(taken), float(cast(float, taken.flops)), float(moved)

    parts = [take(count) for _, count in counts]
    if pending:
        parts.append(take(len(pending)))
    return _Figures(
        work=work, parts=tuple(parts), packed_bytes=_packed_bytes(work, problem)
    )


def _packed_bytes(work: Work, problem: Problem) -> float:
    """Returns what a library holds of the right operand of the largest product."""
    columns = problem.profile.memory.packed_columns
    packed = (
        min(cast(float, item.n), columns) * cast(float, item.k)
        for item in work.operations
        if item.kind is OperationKind.DOT
    )
    return problem.study.itemsize * max(packed, default=0.0)


def _priced(
    candidate: Candidate, figures: _Figures, problem: Problem, *, allowed: bool
) -> Priced:
    own: list[Key | None] = [key for key, _ in _counts(candidate, problem)]
    own += [None] * (len(figures.parts) - len(own))
    parts = tuple(
        Part(key=key, seconds=seconds, flops=flops, bytes_moved=moved)
        for key, (seconds, flops, moved) in zip(own, figures.parts, strict=True)
    )
    return Priced(
        candidate=candidate,
        work=figures.work,
        parts=parts,
        allowed=allowed,
        packed_bytes=figures.packed_bytes,
    )


def _allowed(
    layer: Layer, candidates: Sequence[Candidate], request: MethodRequest
) -> tuple[Method, ...]:
    """Returns the methods that a leaf may have.

    Where methods are named for the whole model, an opaque leaf, which has no structure,
    falls back to its Jacobian; where one is forced on the leaf itself, that is an
        error.
    """
    path = layer.leaf.path
    wanted, forced = request.of(path)
    present = tuple(dict.fromkeys(candidate.method for candidate in candidates))
    found = tuple(method for method in wanted if method in present)
    if found:
        return found
    if Method.STRUCTURED_DERIVATIVES in wanted and not forced:
        return (Method.JACOBIAN_CONTRACTION,)
    others = f"one of {', '.join(present)}"
    hint = f"Take {others}"
    if Method.NTK_VECTOR_PRODUCTS in wanted:
        why = str(layer.no_forward)
    elif Method.SUM_OF_LOGITS in wanted:
        why = "it is exact for the kernel of the sum of logits alone"
        hint = f'Ask for kernel="sum_of_logits", or take {others}'
    else:
        why = str(layer.opaque)
    raise MethodNotApplicableError(
        method=", ".join(wanted),
        path=path or "(the whole of params)",
        why=why,
        hint=hint,
    )
