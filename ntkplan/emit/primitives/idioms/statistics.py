"""Means, variances, norms and bounds of arrays."""

from __future__ import annotations

from collections.abc import Iterator

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import atom, call
from ntkplan.emit.primitives.idioms.activations import of_one
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, axes_text, number_text
from ntkplan.ir.equation import Atom, Equation


def _mean(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A sum divided by a number."""
    if not isinstance(last.inputs[1], Literal):
        return
    total, kept = _total(last.inputs[0], producers)
    if total is not None:
        yield _statistic("jnp.mean", total, total.inputs[0], kept)


def _total(item: Atom, producers: Producers) -> tuple[Equation | None, bool]:
    """The sum behind an array, and whether its axes were kept as ones."""
    total = producers.find(item)
    kept = total is not None and total.primitive is primitives.broadcast_in_dim_p
    if total is not None and kept:
        total = producers.find(total.inputs[0])
    if total is None or total.primitive is not primitives.reduce_sum_p:
        return None, kept
    return total, kept


def _statistic(name: str, total: Equation, operand: Atom, kept: bool) -> Proposal:
    axes = tuple(int(axis) for axis in total.parameters["axes"])
    rank = len(aval_of(operand).shape)
    keywords = {} if len(axes) == rank else {"axis": axes_text(axes, rank)}
    keywords |= {"keepdims": "True"} if kept else {}
    return of_one(operand, name, **keywords)


def _variance(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """The mean of the squared distances from the mean."""
    yield from _spreads("jnp.var", last, producers)


def _spreads(name: str, last: Equation, producers: Producers) -> Iterator[Proposal]:
    for case in (last, *map(producers.find, last.inputs[1:])):
        if case is None or case.primitive is not primitives.div_p:
            continue
        total, kept = _total(case.inputs[0], producers)
        if total is None:
            continue
        squares = producers.find(total.inputs[0])
        centred = squares and producers.find(squares.inputs[0], primitives.sub_p)
        if centred:
            yield _statistic(name, total, centred.inputs[0], kept)


def _roots(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A standard deviation, or a norm."""
    inner = producers.find(last.inputs[0])
    if inner is None:
        return
    if inner.primitive in (primitives.select_n_p, primitives.div_p):
        yield from _spreads("jnp.std", inner, producers)
    total, kept = _total(last.inputs[0], producers)
    squares = total and producers.find(
        total.inputs[0], primitives.mul_p, primitives.square_p
    )
    if total and squares:
        yield _statistic("jnp.linalg.norm", total, squares.inputs[0], kept)


def _standardized(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`(x - mean) / sqrt(variance + epsilon)`, as `jax.nn` computes it."""
    centred = producers.find(last.inputs[0], primitives.sub_p)
    scale = producers.find(last.inputs[1], primitives.rsqrt_p)
    inside = scale and producers.find(scale.inputs[0], primitives.add_p)
    mean = centred and producers.find(centred.inputs[1], primitives.div_p)
    if not centred or not inside or not mean:
        return
    total, _ = _total(mean.inputs[0], producers)
    epsilon = producers.number(inside.inputs[1])
    if total is None or epsilon is None:
        return
    rank = len(aval_of(centred.inputs[0]).shape)
    axes = tuple(int(axis) for axis in total.parameters["axes"])
    keywords = {} if axes == (rank - 1,) else {"axis": axes_text(axes, rank)}
    keywords["epsilon"] = number_text(epsilon)
    yield of_one(centred.inputs[0], "jax.nn.standardize", **keywords)


def _clip(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """The smaller of a bound and the greater of another and an array."""
    inner = producers.find(last.inputs[1], primitives.max_p)
    if inner is None:
        return
    low = producers.behind(inner.inputs[0], *_SPREADING)
    high = producers.behind(last.inputs[0], *_SPREADING)
    operands: list[Atom] = [inner.inputs[1]]
    texts: list[str | None] = []
    for bound in (low, high):
        number = producers.number(bound)
        texts.append(None if number is None else number_text(number))
        if number is None:
            operands.append(bound)
    if not isinstance(operands[0], Var):
        return

    def write(x, *bounds):
        rest = iter(bounds)
        return call(
            "jnp.clip", x, *(next(rest) if t is None else atom(t) for t in texts)
        )

    yield Proposal(operands=tuple(operands), write=write)


_SPREADING = (primitives.broadcast_in_dim_p, primitives.convert_element_type_p)

PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.div_p: (_mean, _variance),
    primitives.select_n_p: (_variance,),
    primitives.sqrt_p: (_roots,),
    primitives.mul_p: (_standardized,),
    primitives.min_p: (_clip,),
}
