"""The formulas of a leaf's candidates, made when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from ntkplan.cost.work import formula_texts
from ntkplan.ir.plan import LeafFormulas
from ntkplan.ir.quantities import duration, quantity
from ntkplan.ir.use import Layer
from ntkplan.planner.candidates import Priced
from ntkplan.planner.held import pushed_bytes, resident_bytes
from ntkplan.planner.prices import Price
from ntkplan.planner.shared import push_price, symbolic_work
from ntkplan.planner.uncut import Chosen


def leaf_formulas(chosen: Chosen, path: str) -> LeafFormulas:
    """Writes the formulas of every candidate of a leaf.

    Args:
        chosen: What was asked for and what was chosen.
        path: The leaf's path; nothing is known of one that is not among the layers.
    """
    for layer, items, taken in zip(
        chosen.layers, chosen.priced, chosen.decision.chosen, strict=True
    ):
        if layer.leaf.path != path:
            continue
        found = _of_candidates(chosen, items)
        if chosen.instead_of is not None:
            others = leaf_formulas(chosen.instead_of, path).candidates
            found = {**others, **found}
        pushable = next((item for item in items if item.pushed), None)
        if pushable is None:
            return LeafFormulas(candidates=found, n_tiles=chosen.decision.n_tiles)
        name = f"{pushable.candidate.method.value} {pushable.candidate.order}"
        formulas, told = _of_push(chosen, layer, taken)
        return LeafFormulas(
            candidates={**found, name: formulas},
            push=told,
            push_fits=taken.pushed or _fits(chosen, layer),
            n_tiles=chosen.decision.n_tiles,
        )
    return LeafFormulas(candidates={})


def _of_candidates(
    chosen: Chosen, items: tuple[Priced, ...]
) -> dict[str, Mapping[str, str]]:
    study, symmetric = chosen.problem.study, chosen.problem.symmetric
    # The sides of a tile are not the same examples.
    symmetric = symmetric and chosen.decision.tiling is None
    return {
        f"{item.candidate.method.value} {item.candidate.order}": study.formulas(
            item.candidate, symmetric=symmetric
        )
        for item in items
    }


def _of_push(
    chosen: Chosen, layer: Layer, taken: Priced
) -> tuple[Mapping[str, str], str]:
    """Returns the formulas of the push that a leaf shares, and what it takes."""
    problem, decision = chosen.problem, chosen.decision
    if taken.pushed:
        pairs = zip(chosen.layers, decision.chosen, strict=True)
        pushed = [other for other, item in pairs if item.pushed]
        price, which = decision.shared.push, "in this plan"
    else:
        pushed, which = [layer], "for this leaf alone"
        price = push_price(problem, pushed)
    return formula_texts(symbolic_work(problem, [], pushed).push), (
        "ntk_vector_products has no part of its own: the push forward, which "
        f"pushed leaves share, takes {_told(price)} {which}; its formulas are those of "
        "the push"
    )


def _told(price: Price) -> str:
    return f"{duration(price.seconds)} and {quantity(price.flops)}flop"


def _fits(chosen: Chosen, layer: Layer) -> bool:
    """Says whether a leaf that is not pushed could be, all at once."""
    rest = [other for other in chosen.layers if other is not layer]
    needed = resident_bytes(chosen.problem, rest)
    return needed + pushed_bytes(chosen.problem, [layer]) <= chosen.limit_bytes
