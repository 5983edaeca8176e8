"""Every candidate of every leaf, priced."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Sequence
from typing import cast

from ntkplan.cost.symbols import evaluate
from ntkplan.cost.work import Work
from ntkplan.errors import MethodNotApplicableError
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame
from ntkplan.methods.sharing import Key
from ntkplan.methods.table import METHODS
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.shared import Problem, shared_work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One statement of a candidate, priced.

    Attributes:
        key: Equal for statements that compute the same array.
        seconds: Its time on the problem's device.
        flops: Its floating-point operations.
        bytes_moved: Bytes that it reads and writes.
    """

    key: Key
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
    """

    candidate: Candidate
    work: Work
    parts: tuple[Part, ...]
    allowed: bool

    @property
    def seconds(self) -> float:
        """Its time if it shares nothing; 0 for a pushed leaf, whose work is shared."""
        return sum(part.seconds for part in self.parts)

    @property
    def keys(self) -> frozenset[Key]:
        """Keys of its statements."""
        return frozenset(part.key for part in self.parts if part.key)

    def own(self, computed: Container[Key]) -> tuple[Part, ...]:
        """Returns what is left to do where some statements are computed anyway."""
        return tuple(part for part in self.parts if part.key not in computed)

    def marginal_seconds(self, computed: Container[Key]) -> float:
        """Returns its time where some statements are computed anyway."""
        return sum(part.seconds for part in self.own(computed))

    @property
    def pushed(self) -> bool:
        """Whether the leaf takes part in the push forward."""
        return self.candidate.method is Method.NTK_VECTOR_PRODUCTS

    @property
    def peak_bytes(self) -> float:
        """Most bytes alive at once, inputs left out."""
        return float(cast(float, self.work.peak_bytes))


def price(
    layers: Sequence[Layer], frame: Frame, problem: Problem, request: MethodRequest
) -> list[tuple[Priced, ...]]:
    """Returns the candidates of every layer, cheapest first.

    Raises:
        MethodNotApplicableError: A method that is forced on a leaf is not to be had.
    """
    made = [_candidates(layer, frame, problem.itemsize) for layer in layers]
    works = [
        candidate.symmetric_work if problem.symmetric else candidate.work
        for candidates in made
        for candidate in candidates
    ]
    numbers = iter(
        evaluate(works, n1=problem.n1, n2=problem.n2, n_outputs=problem.spec.n_basis)
    )
    # All temporaries of a program are one allocation. Where it is large, its pages are
    # new at every call, also to a leaf that needs few of them.
    beside = shared_work(problem, layers, ()).resident_bytes
    result: list[tuple[Priced, ...]] = []
    for layer, candidates in zip(layers, made, strict=True):
        allowed = _allowed(layer, candidates, request)
        priced = []
        for candidate in candidates:
            priced.append(
                _priced(
                    candidate,
                    next(numbers),
                    problem,
                    beside_bytes=beside,
                    allowed=candidate.method in allowed,
                )
            )
        result.append(tuple(sorted(priced, key=lambda item: item.seconds)))
    return result


def _priced(
    candidate: Candidate,
    work: Work,
    problem: Problem,
    *,
    beside_bytes: float,
    allowed: bool,
) -> Priced:
    counts = candidate.symmetric_parts if problem.symmetric else candidate.parts
    pending = list(work.operations)

    def take(key: Key, count: int) -> Part:
        taken = Work(
            operations=tuple(pending[:count]),
            peak_bytes=math.ceil(beside_bytes + cast(float, work.peak_bytes)),
        )
        del pending[:count]
        return Part(
            key=key,
            seconds=problem.seconds(taken),
            flops=float(cast(float, taken.flops)),
            bytes_moved=float(
                cast(float, taken.bytes_read) + cast(float, taken.bytes_written)
            ),
        )

    parts = [take(key, count) for key, count in counts]
    if pending:
        parts.append(take((), len(pending)))
    return Priced(candidate=candidate, work=work, parts=tuple(parts), allowed=allowed)


def _candidates(layer: Layer, frame: Frame, itemsize: int) -> list[Candidate]:
    return [
        candidate
        for rule in METHODS.values()
        for candidate in rule(layer, frame, itemsize)
    ]


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
