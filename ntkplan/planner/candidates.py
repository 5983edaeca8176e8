"""Every candidate of every leaf, priced."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Container, Iterator, Sequence, Set

from ntkplan.errors import MethodNotApplicableError
from ntkplan.ir.use import Layer
from ntkplan.methods.candidate import Candidate, Method
from ntkplan.planner.forms import Figures, Named
from ntkplan.planner.held import resident_bytes
from ntkplan.planner.prices import Price
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """A candidate with its work in numbers.

    Attributes:
        candidate: The candidate.
        named: What it computes.
        figures: What that takes, statement by statement.
        allowed: Whether the user allows it.
        correction: By what its estimated time was multiplied, see `corrected`.
        measured_s: Its time if it shares nothing, where it was measured.
    """

    candidate: Candidate
    named: Named
    figures: Figures
    allowed: bool
    correction: float = 1.0
    measured_s: float | None = None

    @property
    def seconds(self) -> float:
        """Its time if it shares nothing; 0 for a pushed leaf, whose work is shared."""
        return self.figures.total_s

    @property
    def keys(self) -> frozenset[int]:
        """Numbers of its statements."""
        return self.named.keys

    @property
    def timed(self) -> Iterator[tuple[int | None, float]]:
        """The number of every statement, and its seconds."""
        return zip(self.named.statements, self.figures.seconds, strict=True)

    def left(self, computed: Set[int | None]) -> Price:
        """Returns what is left to do where some statements are computed anyway."""
        figures = self.figures
        if self.keys.isdisjoint(computed):
            return figures.total
        left = [key not in computed for key in self.named.statements]
        return Price(
            seconds=sum(itertools.compress(figures.seconds, left)),
            flops=sum(itertools.compress(figures.flops, left)),
            bytes_moved=sum(itertools.compress(figures.bytes_moved, left)),
        )

    def marginal_seconds(self, computed: Container[int | None]) -> float:
        """Returns its time where some statements are computed anyway."""
        return sum(seconds for key, seconds in self.timed if key not in computed)

    def corrected(self, factor: float, *, measured_s: float | None = None) -> Priced:
        """Returns the same candidate with the time of every statement multiplied.

        Args:
            factor: By what.
            measured_s: Its measured time, if that is where the factor comes from.
        """
        seconds = tuple(each * factor for each in self.figures.seconds)
        return dataclasses.replace(
            self,
            figures=dataclasses.replace(
                self.figures, seconds=seconds, total_s=sum(seconds)
            ),
            correction=self.correction * factor,
            measured_s=measured_s,
        )

    @property
    def pushed(self) -> bool:
        """Whether the leaf takes part in the push forward."""
        return self.named.pushed

    @property
    def peak_bytes(self) -> float:
        """Most bytes alive at once, inputs left out."""
        return self.figures.peak_bytes


def price(problem: Problem, request: MethodRequest) -> list[tuple[Priced, ...]]:
    """Returns the candidates of every layer, cheapest first.

    Raises:
        MethodNotApplicableError: A method that is forced on a leaf is not to be had.
    """
    study = problem.study
    names = study.forms(symmetric=problem.symmetric).layers
    figures = _figures(problem)
    # Layers of one form have their candidates in one order.
    orders: dict[tuple[int, ...], list[int]] = {}
    result: list[tuple[Priced, ...]] = []
    for candidates, named, allowed in zip(
        study.candidates, names, _allowed_in(study, request), strict=True
    ):
        forms = tuple([each.form for each in named])
        if forms not in orders:
            seconds = [figures[form].total_s for form in forms]
            orders[forms] = sorted(range(len(forms)), key=seconds.__getitem__)
        result.append(
            tuple(
                [
                    Priced(
                        candidate=candidates[number],
                        named=named[number],
                        figures=figures[forms[number]],
                        allowed=allowed[number],
                    )
                    for number in orders[forms]
                ]
            )
        )
    return result


def price_chosen(problem: Problem, chosen: Sequence[Priced]) -> list[Priced]:
    """Prices candidates that were chosen at other sizes.

    Args:
        problem: The sizes.
        chosen: Candidates of its study.
    """
    forms, figures = problem.study.forms(symmetric=problem.symmetric), _figures(problem)
    found: list[Priced] = []
    for item in chosen:
        named = forms.named(item.candidate)
        found.append(
            Priced(
                candidate=item.candidate,
                named=named,
                figures=figures[named.form],
                allowed=item.allowed,
            )
        )
    return found


def _figures(problem: Problem) -> list[Figures]:
    """Prices the forms of all candidates, each once."""
    study = problem.study
    return study.forms(symmetric=problem.symmetric).figures(
        (problem.n1, problem.n2, problem.n_basis),
        problem.profile,
        dtype=study.dtype,
        precision=problem.precision,
        itemsize=study.itemsize,
        beside_bytes=resident_bytes(problem, study.layers),
    )


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


def _allowed_in(study: Study, request: MethodRequest) -> tuple[tuple[bool, ...], ...]:
    """Says of each candidate of each layer whether the user allows it."""
    if request not in study.allowed:
        found: list[tuple[bool, ...]] = []
        for layer, candidates in zip(study.layers, study.candidates, strict=True):
            # A cut is no leaf: what the user says of leaves is not said of it.
            is_cut = layer is study.cut
            methods = tuple(Method) if is_cut else _allowed(layer, candidates, request)
            found.append(tuple(item.method in methods for item in candidates))
        study.allowed[request] = tuple(found)
    return study.allowed[request]


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
        why = str(layer.opaque or "its Jacobian has no factors to contract apart")
    raise MethodNotApplicableError(
        method=", ".join(wanted),
        path=path or "(the whole of params)",
        why=why,
        hint=hint,
    )


def tapped_layers(layers: Sequence[Layer], chosen: Sequence[Priced]) -> list[Layer]:
    """Returns the layers that are not pushed, with the taps that were chosen.

    Args:
        layers: All layers.
        chosen: One candidate for each.
    """
    return [
        item.candidate.layer_of(layer)
        for layer, item in zip(layers, chosen, strict=True)
        if not item.pushed
    ]
