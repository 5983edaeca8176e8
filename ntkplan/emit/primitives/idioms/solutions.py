"""Solutions of linear equations, and inverses."""

from __future__ import annotations

from collections.abc import Iterator

from ntkplan._jax import Primitive, Var, primitives, stop_gradient_p
from ntkplan.emit.expression import call
from ntkplan.emit.primitives.idioms.activations import of_one
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.ir.equation import Equation

_TURNED = (primitives.transpose_p, primitives.squeeze_p, primitives.reshape_p)


def _solutions(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`jnp.linalg.solve` and `jnp.linalg.inv`, which is a solution for the identity."""
    solved = producers.through(last.outputs[0], *_TURNED)
    if solved is None or solved.primitive is not primitives.linear_solve_p:
        return
    factors = next(
        filter(None, (producers.find(x, primitives.lu_p) for x in solved.inputs)), None
    )
    if factors is None:
        return
    matrix = producers.behind(factors.inputs[0], stop_gradient_p)
    if not isinstance(matrix, Var):
        return
    yield of_one(matrix, "jnp.linalg.inv")
    side = solved.inputs[-1]
    while isinstance(side, Var):
        yield Proposal(
            operands=(matrix, side),
            write=lambda a, b: call("jnp.linalg.solve", a, b),
        )
        turned = producers.find(side, *_TURNED)
        if turned is None:
            return
        side = turned.inputs[0]


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.transpose_p: (_solutions,),
    primitives.squeeze_p: (_solutions,),
    primitives.linear_solve_p: (_solutions,),
}
