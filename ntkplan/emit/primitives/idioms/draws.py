"""Random numbers: what `jax.random` makes of random bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ntkplan._jax import Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, call
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, dtype_text, integers, number_text
from ntkplan.ir.equation import Atom, Equation

_FARTHEST = 8


def _key(item: Atom, producers: Producers) -> Var | None:
    """The key of the random bits behind an array of numbers."""
    for _ in range(_FARTHEST):
        equation = producers.find(item)
        if equation is None:
            return None
        if equation.primitive is primitives.random_bits_p:
            key = equation.inputs[0]
            return key if isinstance(key, Var) else None
        moving = [
            operand
            for operand in equation.inputs
            if isinstance(operand, Var) and producers.number(operand) is None
        ]
        if not moving:
            return None
        item = moving[0]
    return None


def _draw(
    name: str, last: Equation, key: Var, *arguments: Expression, **keywords: str
) -> Proposal:
    aval = aval_of(last.outputs[0])
    shape = integers(aval.shape)
    if aval.dtype not in (np.float32, np.bool_):
        keywords = {"dtype": dtype_text(aval.dtype), **keywords}
    elif aval.dtype == np.float32:
        # The default dtype of a program may be another.
        keywords = {"dtype": "jnp.float32", **keywords}
    return Proposal(
        operands=(key,),
        write=lambda k: call(f"jax.random.{name}", k, *arguments, shape, **keywords),
    )


def _normal(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`sqrt(2) * erf_inv(uniform)`."""
    inverse = producers.find(last.inputs[1], primitives.erf_inv_p)
    key = inverse and _key(inverse.inputs[0], producers)
    if key is not None:
        yield _draw("normal", last, key)


def _uniform(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """The greater of the least number and a moved and stretched one."""
    low = producers.number(last.inputs[0])
    moved = producers.find(last.inputs[1], primitives.add_p)
    key = moved and _key(moved.inputs[0], producers)
    if key is None or moved is None or low is None:
        return
    stretched = producers.find(moved.inputs[0], primitives.mul_p)
    span = stretched and producers.find(stretched.inputs[1], primitives.sub_p)
    keywords: dict[str, str] = {}
    if low != 0:
        keywords["minval"] = number_text(low)
    high = span and producers.number(span.inputs[0])
    if high is not None and high != 1:
        keywords["maxval"] = number_text(high)
    yield _draw("uniform", last, key, **keywords)


def _bernoulli(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """Whether a uniform number is below a probability."""
    probability = producers.number(last.inputs[1])
    top = producers.find(last.inputs[0], primitives.max_p)
    key = top and _key(top.inputs[1], producers)
    if key is not None and probability is not None:
        yield _draw("bernoulli", last, key, atom(number_text(probability)))


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.mul_p: (_normal,),
    primitives.max_p: (_uniform,),
    primitives.lt_p: (_bernoulli,),
}
