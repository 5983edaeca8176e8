"""Activation functions of `jax.nn`, and the softmax."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import Expression, atom, call
from ntkplan.emit.primitives.idioms.matching import Producers, Proposal, Proposer
from ntkplan.emit.primitives.value import aval_of, axes_text, number_text
from ntkplan.ir.equation import Atom, Equation

_DEEPEST = 4


def of_one(operand: Atom, name: str, *arguments: Expression, **keywords: str):
    """The proposal of a function of one array."""
    return Proposal(
        operands=(operand,), write=lambda x: call(name, x, *arguments, **keywords)
    )


def axis_keywords(axes: Sequence[int], rank: int, default: int | None):
    """The `axis` of a function, unless it is the default one."""
    if default is not None and tuple(axes) == (default % rank,):
        return {}
    return {"axis": axes_text(axes, rank)}


def _softmaxes(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`exp(x - max) / sum`, and `x - max - log(sum)`."""
    broadcast = primitives.broadcast_in_dim_p
    if last.primitive is primitives.div_p:
        name = "softmax"
        top = producers.find(last.inputs[0], primitives.exp_p)
        shifted = top and producers.find(top.inputs[0], primitives.sub_p)
        total = producers.through(last.inputs[1], broadcast)
    else:
        name = "log_softmax"
        shifted = producers.find(last.inputs[0], primitives.sub_p)
        log = producers.through(last.inputs[1], broadcast)
        found = log is not None and log.primitive is primitives.log_p
        total = producers.through(log.inputs[0], broadcast) if log and found else None
    if not shifted or not total or total.primitive is not primitives.reduce_sum_p:
        return
    operand = shifted.inputs[0]
    keywords = axis_keywords(_axes(total), len(aval_of(operand).shape), -1)
    yield of_one(operand, f"jax.nn.{name}", **keywords)


def _axes(reduction: Equation) -> tuple[int, ...]:
    return tuple(int(axis) for axis in reduction.parameters["axes"])


def _log_sum_exp(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`log(sum(exp(x - max))) + max`."""
    log = producers.find(last.inputs[0], primitives.log_p)
    size = log and producers.find(log.inputs[0], primitives.abs_p)
    total = size and producers.through(size.inputs[0], primitives.broadcast_in_dim_p)
    if not total or total.primitive is not primitives.reduce_sum_p:
        return
    top = producers.find(total.inputs[0], primitives.exp_p)
    shifted = top and producers.find(top.inputs[0], primitives.sub_p)
    if not shifted:
        return
    operand, axes = shifted.inputs[0], _axes(total)
    rank = len(aval_of(operand).shape)
    keywords = {} if len(axes) == rank else axis_keywords(axes, rank, None)
    if len(aval_of(last.outputs[0]).shape) == rank:
        keywords["keepdims"] = "True"
    yield of_one(operand, "jax.nn.logsumexp", **keywords)


def _products(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`x * sigmoid(x)` and other products of an array with a function of it."""
    for x, gate in (last.inputs, last.inputs[::-1]):
        found = producers.find(gate)
        if found is None:
            continue
        if found.primitive is primitives.logistic_p:
            if found.inputs[0] is x:
                yield of_one(x, "jax.nn.silu")
            yield from _gated(x, found.inputs[0], producers)
        if found.primitive is primitives.tanh_p:
            yield of_one(x, "jax.nn.mish")
        if found.primitive is primitives.div_p:
            yield of_one(x, "jax.nn.hard_swish")
        if found.primitive is primitives.select_n_p and isinstance(x, Literal):
            for operand in found.inputs[1:]:
                if isinstance(operand, Var):
                    yield of_one(operand, "jax.nn.selu")
    yield from _gelus(last, producers)


def _gated(x: Atom, gate: Atom, producers: Producers) -> Iterator[Proposal]:
    """`jax.nn.glu`: one half of an array times the sigmoid of the other."""
    halves = producers.find(x)
    if halves is None or halves is not producers.find(gate):
        return
    if "axis" in halves.parameters and len(halves.outputs) == 2:
        (operand,) = halves.inputs
        rank = len(aval_of(operand).shape)
        axis = axis_keywords((int(halves.parameters["axis"]),), rank, -1)
        yield of_one(operand, "jax.nn.glu", **axis)


def _gelus(last: Equation, producers: Producers) -> Iterator[Proposal]:
    for approximate in (True, False):
        for x in _gelu_operands(last, producers, approximate):
            keywords = {} if approximate else {"approximate": "False"}
            yield of_one(x, "jax.nn.gelu", **keywords)


def _gelu_operands(
    last: Equation, producers: Producers, approximate: bool
) -> Iterable[Atom]:
    """What the function may be applied to, if its middle is where it should be."""
    tops = (
        (primitives.tanh_p,) if approximate else (primitives.erfc_p, primitives.erf_p)
    )
    near: list[Atom] = list(last.inputs)
    found = False
    for _ in range(_DEEPEST):
        found = found or any(producers.find(item, *tops) for item in near)
        near += [
            item
            for equation in map(producers.find, near)
            if equation is not None
            for item in equation.inputs
        ]
    if not found:
        return ()
    direct: list[Atom] = list(last.inputs)
    for item in last.inputs:
        factor = producers.find(item, primitives.mul_p)
        direct += factor.inputs if factor else ()
    return dict.fromkeys(item for item in direct if isinstance(item, Var))


def _choices(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """What is one function above a number and another one below."""
    test = producers.find(last.inputs[0], primitives.gt_p, primitives.ge_p)
    if test is None or len(last.inputs) != 3:
        return
    x = test.inputs[0]
    if not isinstance(x, Var):
        return
    slope = producers.find(last.inputs[1], primitives.mul_p)
    if slope is None:
        yield of_one(x, "jax.nn.hard_tanh")
        return
    factor = _factor(slope, producers)
    if factor is not None:
        yield _with_slope(x, "elu", factor, 1.0)
        yield _with_slope(x, "leaky_relu", factor, 0.01)


def _with_slope(x: Atom, name: str, factor: Any, default: float) -> Proposal:
    plain = factor == type(factor)(default)
    arguments = [] if plain else [atom(number_text(factor))]
    return of_one(x, f"jax.nn.{name}", *arguments)


def _celus(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`max(x, 0) + a * expm1(min(x, 0) / a)`."""
    above = producers.find(last.inputs[0], primitives.max_p)
    below = producers.find(last.inputs[1], primitives.mul_p)
    factor = below and _factor(below, producers)
    if above and factor is not None:
        yield _with_slope(above.inputs[0], "celu", factor, 1.0)


def _sincs(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`sin(pi x) / (pi x)`, with a series in its place at zero."""
    test = producers.find(last.inputs[0], primitives.eq_p)
    if test and producers.find(last.inputs[-1], primitives.custom_jvp_call_p):
        yield of_one(test.inputs[0], "jnp.sinc")


def _factor(product: Equation, producers: Producers) -> Any:
    numbers = [producers.number(item) for item in product.inputs]
    return next((number for number in numbers if number is not None), None)


def _soft(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A logarithm of a sum of exponentials, one of them a constant."""
    if len(last.inputs) != 2:
        return
    one, other = last.inputs
    if isinstance(other, Literal) and isinstance(one, Var):
        yield of_one(one, "jax.nn.softplus")


def _negated(last: Equation, producers: Producers) -> Iterator[Proposal]:
    inner = producers.find(last.inputs[0], primitives.custom_jvp_call_p)
    minus = inner and producers.find(inner.inputs[0], primitives.neg_p)
    if minus:
        yield of_one(minus.inputs[0], "jax.nn.log_sigmoid")


def _quotients(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`relu6(x + 3) / 6` and `x / (abs(x) + 1)`."""
    clipped = producers.find(last.inputs[0], primitives.custom_jvp_call_p)
    if clipped:
        shifted = producers.find(clipped.inputs[0], primitives.add_p)
        if shifted:
            yield of_one(shifted.inputs[0], "jax.nn.hard_sigmoid")
    below = producers.find(last.inputs[1], primitives.add_p)
    if below and isinstance(last.inputs[0], Var):
        yield of_one(last.inputs[0], "jax.nn.soft_sign")


PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.div_p: (_softmaxes, _quotients),
    primitives.sub_p: (_softmaxes,),
    primitives.add_p: (_log_sum_exp, _celus),
    primitives.mul_p: (_products,),
    primitives.select_n_p: (_choices, _sincs),
    primitives.custom_jvp_call_p: (_soft,),
    primitives.neg_p: (_negated,),
}
