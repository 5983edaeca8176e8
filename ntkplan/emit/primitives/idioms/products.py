"""Einsums spelled as a person would, and products of stacks of one matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ntkplan._jax import Primitive, primitives
from ntkplan.emit.expression import Expression, atom, binary, call
from ntkplan.emit.primitives.contraction import is_matmul
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.parameters import precision_keywords
from ntkplan.emit.primitives.value import aval_of
from ntkplan.errors import NotPrintableError
from ntkplan.ir.equation import Atom, Equation

_EVERY = "abcdefghijklmnopqrstuvwxyz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axes:
    """The axes of a contraction's operands, as numbers that both sides share.

    Attributes:
        first: Of the operand that is written first.
        second: Of the other one.
        result: Of the result, in its order.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    result: tuple[int, ...]

    def subscripts(self, *, swapped: bool) -> str:
        """Subscripts: `b`, `h` count examples and heads, `d`, `e` features.

        Args:
            swapped: Whether the second operand is written first; letters stay.
        """
        shared = set(self.first) & set(self.second)
        batch = [axis for axis in self.first if axis in shared & set(self.result)]
        summed = [axis for axis in self.first if axis in shared - set(batch)]
        of_features = self.first[-1:] == self.second[-1:]
        rows = [axis for axis in self.first if axis not in shared]
        columns = [axis for axis in self.second if axis not in shared]
        if not batch:
            pools = ("", "def", "bstuv", "hkmn")
        elif of_features:
            pools = ("bhg", "def", "qrs", "klm")
        else:
            pools = ("bhg", "klm", "qrs", "def")
        letters = _spelled([batch, summed, rows, columns], pools)
        operands = [self.first, self.second]
        one, other, result = (
            "".join(letters[axis] for axis in axes)
            for axes in (*(operands[::-1] if swapped else operands), self.result)
        )
        return f"{one},{other}->{result}"


def _spelled(groups: Sequence[Sequence[int]], pools: Sequence[str]) -> dict[int, str]:
    """A letter for every axis, from the pool of its group as long as it has some."""
    letters: dict[int, str] = {}
    kept = "".join(pools)
    for group, pool in zip(groups, pools, strict=True):
        for number, axis in enumerate(group):
            free = (x for x in _EVERY if x not in kept and x not in letters.values())
            letters[axis] = pool[number] if number < len(pool) else next(free)
    return letters


def _axes(product: Equation, permutation: Sequence[int] | None) -> _Axes:
    (left_sum, right_sum), (left_batch, right_batch) = product.parameters[
        "dimension_numbers"
    ]
    ranks = [len(aval_of(operand).shape) for operand in product.inputs]
    left = list(range(ranks[0]))
    right = list(range(ranks[0], sum(ranks)))
    for ours, theirs in zip(
        (*left_batch, *left_sum), (*right_batch, *right_sum), strict=True
    ):
        right[theirs] = left[ours]
    summed = {left[axis] for axis in left_sum}
    batch = [left[axis] for axis in left_batch]
    result = [*batch, *(x for x in left if x not in summed and x not in batch)]
    result += [x for x in right if x not in result and x not in summed]
    if permutation is not None:
        result = [result[axis] for axis in permutation]
    return _Axes(first=tuple(left), second=tuple(right), result=tuple(result))


def _einsums(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A contraction, its result maybe transposed, that is no plain product."""
    permutation = None
    product: Equation | None = last
    if last.primitive is primitives.transpose_p:
        permutation = tuple(map(int, last.parameters["permutation"]))
        product = producers.find(last.inputs[0], primitives.dot_general_p)
    if product is None or is_matmul(product, permutation):
        return
    if product is last and producers.is_read_by(last, primitives.transpose_p):
        return
    try:
        keywords = precision_keywords(product)
    except NotPrintableError:
        return
    axes = _axes(product, permutation)
    left, right = product.inputs
    if _is_second_first(axes):
        axes = dataclasses.replace(axes, first=axes.second, second=axes.first)
        left, right = right, left
    yield _einsum(axes.subscripts(swapped=False), (left, right), keywords)
    yield _einsum(axes.subscripts(swapped=True), (right, left), keywords)


def _is_second_first(axes: _Axes) -> bool:
    """Whether the second operand would be written first: `x @ w`, `weights @ v`."""
    shared = set(axes.first) & set(axes.second)
    summed = shared - set(axes.result)
    own = [set(operand) - shared for operand in (axes.first, axes.second)]
    if not own[0] or not own[1]:
        return bool(own[0])
    if summed == shared:
        at_end = [operand[-1] in summed for operand in (axes.first, axes.second)]
        if at_end[0] != at_end[1]:
            return at_end[1]
    return next(axis for axis in axes.result if axis not in shared) in own[1]


def _einsum(
    text: str, operands: tuple[Atom, ...], keywords: dict[str, Expression]
) -> Proposal:
    spec = atom(f'"{text}"')
    return Proposal(
        operands=operands,
        write=lambda a, b: call("jnp.einsum", spec, a, b, **keywords),
    )


def _stacks_of_one(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`x @ y` of stacks that hold one matrix, whose axis JAX takes away meanwhile."""
    kinds = (primitives.broadcast_in_dim_p, primitives.reshape_p)
    product = producers.through(last.inputs[0], *kinds, primitives.transpose_p)
    if product is None or product.primitive is not primitives.dot_general_p:
        return
    try:
        keywords = precision_keywords(product)
    except NotPrintableError:
        return

    def write(left: Expression, right: Expression) -> Expression:
        if keywords:
            return call("jnp.matmul", left, right, **keywords)
        return binary("@", left, right)

    wider = tuple(
        producers.behind(item, primitives.squeeze_p) for item in product.inputs
    )
    if wider != tuple(product.inputs):
        yield Proposal(operands=wider, write=write)


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.dot_general_p: (_einsums,),
    primitives.transpose_p: (_stacks_of_one, _einsums),
    primitives.broadcast_in_dim_p: (_stacks_of_one,),
    primitives.reshape_p: (_stacks_of_one,),
}
