"""Sorting, searching and running totals, as numpy names them."""

from __future__ import annotations

from collections.abc import Iterator

from ntkplan._jax import Primitive, Var, primitives
from ntkplan.emit.primitives.idioms.activations import axis_keywords, of_one
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of
from ntkplan.ir.equation import Atom, Equation


def _along(item: Atom, axis: int, default: int | None) -> dict[str, str]:
    return axis_keywords((int(axis),), len(aval_of(item).shape), default)


def _sorted(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`jnp.sort`, and `jnp.argsort`, which sorts the positions along."""
    array = last.inputs[0]
    if not isinstance(array, Var):
        return
    keywords = _along(array, last.parameters["dimension"], -1)
    if not last.parameters["is_stable"]:
        keywords["stable"] = "False"
    if len(last.inputs) == 1:
        yield of_one(array, "jnp.sort", **keywords)
    elif len(last.inputs) == 2 and producers.through(
        last.inputs[1], primitives.broadcast_in_dim_p
    ):
        proposal = of_one(array, "jnp.argsort", **keywords)
        yield Proposal(operands=proposal.operands, write=proposal.write, result=1)


def _searched(name: str) -> Proposer:
    def propose(last: Equation, producers: Producers) -> Iterator[Proposal]:
        (array,) = last.inputs
        (axis,) = last.parameters["axes"]
        if isinstance(array, Var):
            yield of_one(array, f"jnp.{name}", **_along(array, axis, None))

    return propose


def _running(name: str) -> Proposer:
    def propose(last: Equation, producers: Producers) -> Iterator[Proposal]:
        (array,) = last.inputs
        if isinstance(array, Var) and not last.parameters["reverse"]:
            keywords = _along(array, last.parameters["axis"], None)
            yield of_one(array, f"jnp.{name}", **keywords)

    return propose


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.sort_p: (_sorted,),
    primitives.argmax_p: (_searched("argmax"),),
    primitives.argmin_p: (_searched("argmin"),),
    primitives.cumsum_p: (_running("cumsum"),),
    primitives.cumprod_p: (_running("cumprod"),),
}
