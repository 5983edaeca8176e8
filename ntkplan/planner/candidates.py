"""Every candidate of every leaf, priced."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from ntkplan.cost.symbols import evaluate
from ntkplan.cost.work import Work
from ntkplan.errors import MethodNotApplicableError
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.methods.network import Frame
from ntkplan.methods.table import METHODS
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.shared import Problem


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """A candidate with its work in numbers.

    Attributes:
        candidate: The candidate.
        work: Its work at the problem's sizes.
        seconds: Its time on the problem's device; 0 for a pushed leaf, whose work is
            shared.
        allowed: Whether the user allows it.
    """

    candidate: Candidate
    work: Work
    seconds: float
    allowed: bool

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
        evaluate(
            works, n1=problem.n1, n2=problem.n2, n_outputs=problem.spec.n_basis
        )
    )
    result: list[tuple[Priced, ...]] = []
    for layer, candidates in zip(layers, made, strict=True):
        allowed = _allowed(layer, candidates, request)
        priced = []
        for candidate in candidates:
            work = next(numbers)
            priced.append(
                Priced(
                    candidate=candidate,
                    work=work,
                    seconds=0.0 if not work.operations else problem.seconds(work),
                    allowed=candidate.method in allowed,
                )
            )
        result.append(tuple(sorted(priced, key=lambda item: item.seconds)))
    return result


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
    falls back to its Jacobian; where one is forced on the leaf itself, that is an error.
    """
    path = layer.leaf.path
    wanted, forced = request.of(path)
    present = tuple(dict.fromkeys(candidate.method for candidate in candidates))
    found = tuple(method for method in wanted if method in present)
    if found:
        return found
    if Method.STRUCTURED_DERIVATIVES in wanted and not forced:
        return (Method.JACOBIAN_CONTRACTION,)
    why = layer.opaque or "the kernel is not that of the sum of logits"
    hint = (
        f"Take one of {', '.join(present)}"
        if layer.opaque
        else 'Ask for kernel="sum_of_logits", or take one of ' + ", ".join(present)
    )
    raise MethodNotApplicableError(
        method=", ".join(wanted), path=path or "(the whole of params)", why=why, hint=hint
    )
