"""Division of integers, and other arithmetic that JAX writes out."""

from __future__ import annotations

from collections.abc import Iterator

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, binary
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import number_text
from ntkplan.ir.equation import Atom, Equation


def _divisions(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`x // y` and `x % y`, which choose between a remainder's two signs."""
    for kind, symbol in ((primitives.div_p, "//"), (primitives.rem_p, "%")):
        found = producers.find(last.inputs[1], kind)
        if found is None:
            continue
        x, y = found.inputs
        yield from _infix(symbol, x, y, producers)
        guarded = producers.find(y, primitives.select_n_p)
        if guarded is not None:
            yield from _infix(symbol, x, guarded.inputs[1], producers)


def _infix(symbol: str, x: Atom, y: Atom, producers: Producers) -> Iterator[Proposal]:
    number = producers.number(y)
    if not isinstance(x, Var):
        return
    if number is not None:
        text = atom(number_text(number))

        def by_number(left: Expression) -> Expression:
            return binary(symbol, left, text)

        yield Proposal(operands=(x,), write=by_number)
    for divisor in (y, producers.behind(y, primitives.broadcast_in_dim_p)):
        if isinstance(divisor, Literal):
            continue

        def by_array(left: Expression, right: Expression) -> Expression:
            return binary(symbol, left, right)

        yield Proposal(operands=(x, divisor), write=by_array)


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.select_n_p: (_divisions,),
}
