"""Several equations that are exactly one public function, such as a softmax.

A function is proposed by the last of its equations, traced on the same shapes, and
taken only if it traces to just these equations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan._jax import Literal, Primitive, Var, primitives
from ntkplan.emit.expression import call, subscript
from ntkplan.emit.primitives.context import Context, Step
from ntkplan.emit.primitives.control_flow import print_platform_dependent
from ntkplan.emit.primitives.parameters import stable_text
from ntkplan.emit.primitives.table import print_equation
from ntkplan.emit.primitives.value import Value, aval_of, axes_text, exact, whole
from ntkplan.ir.equation import Atom, Body, Equation
from ntkplan.trace.jaxpr import flatten

# What counts the operands that a nested function captures.
_CAPTURED: dict[Primitive, tuple[str, ...]] = {
    primitives.scan_p: ("num_consts",),
    primitives.while_p: ("cond_nconsts", "body_nconsts"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """A public function that may be what some equations are.

    Attributes:
        function: Of the operands.
        operands: What it is applied to.
        key: What stands for the function when its traces are remembered.
        text: Prints it from the operands' expressions.
    """

    function: Callable[..., Any]
    operands: tuple[Atom, ...]
    key: tuple[Any, ...]
    text: Callable[..., Any]


class Producers:
    """Which equation defines a variable."""

    def __init__(self, body: Body) -> None:
        self._by_variable = {
            variable: equation
            for equation in body.equations
            for variable in equation.outputs
        }

    def find(self, atom_: Atom, *kinds: Primitive) -> Equation | None:
        """Returns the equation that defines an atom, if it is of one of the kinds."""
        if isinstance(atom_, Literal):
            return None
        equation = self._by_variable.get(atom_)
        if equation is None or (kinds and equation.primitive not in kinds):
            return None
        return equation

    def through(self, atom_: Atom, *kinds: Primitive) -> Equation | None:
        """Returns the equation behind any equations of the kinds."""
        equation = self.find(atom_)
        while equation is not None and equation.primitive in kinds:
            equation = self.find(equation.inputs[0])
        return equation


def _axis_keywords(axes: Sequence[int], rank: int, default: Any) -> dict[str, str]:
    if default is not None and tuple(axes) == (default % rank,):
        return {}
    return {"axis": axes_text(axes, rank)}


def _softmaxes(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`exp(x - max) / sum`, and `x - max - log(sum)`."""
    broadcast = primitives.broadcast_in_dim_p
    if last.primitive is primitives.div_p:
        name, function = "softmax", jax.nn.softmax
        top = producers.find(last.inputs[0], primitives.exp_p)
        shifted = top and producers.find(top.inputs[0], primitives.sub_p)
        total = producers.through(last.inputs[1], broadcast)
    else:
        name, function = "log_softmax", jax.nn.log_softmax
        shifted = producers.find(last.inputs[0], primitives.sub_p)
        log = producers.through(last.inputs[1], broadcast)
        found = log is not None and log.primitive is primitives.log_p
        total = producers.through(log.inputs[0], broadcast) if log and found else None
    if not shifted or not total or total.primitive is not primitives.reduce_sum_p:
        return
    operand = shifted.inputs[0]
    axes = tuple(int(axis) for axis in total.parameters["axes"])
    axis: Any = axes[0] if len(axes) == 1 else axes
    keywords = _axis_keywords(axes, len(aval_of(operand).shape), -1)
    yield Proposal(
        function=lambda x: function(x, axis=axis),
        operands=(operand,),
        key=(name, axis),
        text=lambda x: call(f"jax.nn.{name}", x, **keywords),
    )


def _activations(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """`x * sigmoid(x)` and the two forms of GELU."""
    inner = [producers.find(operand) for operand in last.inputs]
    kinds = [equation and equation.primitive for equation in inner]
    for operand, gate in ((0, 1), (1, 0)):
        found = inner[gate]
        x = last.inputs[operand]
        if kinds[gate] is primitives.logistic_p and found and found.inputs[0] is x:
            yield Proposal(
                function=jax.nn.silu,
                operands=(x,),
                key=("silu",),
                text=lambda x: call("jax.nn.silu", x),
            )
    if primitives.mul_p not in kinds and primitives.erfc_p not in kinds:
        return
    for approximate in (True, False):
        for x in _gelu_operands(last, producers, approximate):
            keywords = {} if approximate else {"approximate": "False"}
            yield Proposal(
                function=lambda x, a=approximate: jax.nn.gelu(x, approximate=a),
                operands=(x,),
                key=("gelu", approximate),
                text=lambda x, k=keywords: call("jax.nn.gelu", x, **k),
            )


def _gelu_operands(
    last: Equation, producers: Producers, approximate: bool
) -> Iterable[Atom]:
    """What the function may be applied to, if its middle is where it should be."""
    tops = (
        (primitives.tanh_p,) if approximate else (primitives.erfc_p, primitives.erf_p)
    )
    near: list[Atom] = list(last.inputs)
    found = False
    for _ in range(4):
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


def _mean(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """A sum divided by a number."""
    if not isinstance(last.inputs[1], Literal):
        return
    total = producers.find(last.inputs[0])
    kept = total is not None and total.primitive is primitives.broadcast_in_dim_p
    if total is not None and kept:
        total = producers.find(total.inputs[0])
    if total is None or total.primitive is not primitives.reduce_sum_p:
        return
    yield _statistic("mean", jnp.mean, total, total.inputs[0], kept)


def _variance(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """The mean of the squared distances from the mean."""
    for case in (last, *map(producers.find, last.inputs[1:])):
        if case is None or case.primitive is not primitives.div_p:
            continue
        total = producers.find(case.inputs[0])
        kept = total is not None and total.primitive is primitives.broadcast_in_dim_p
        if total is not None and kept:
            total = producers.find(total.inputs[0])
        if total is None or total.primitive is not primitives.reduce_sum_p:
            continue
        squares = producers.find(total.inputs[0])
        centred = squares and producers.find(squares.inputs[0], primitives.sub_p)
        if centred:
            yield _statistic("var", jnp.var, total, centred.inputs[0], kept)


def _statistic(
    name: str, function: Callable[..., Any], total: Equation, operand: Atom, kept: bool
) -> Proposal:
    axes = tuple(int(axis) for axis in total.parameters["axes"])
    rank = len(aval_of(operand).shape)
    keywords = {} if len(axes) == rank else {"axis": axes_text(axes, rank)}
    keywords |= {"keepdims": "True"} if kept else {}
    return Proposal(
        function=lambda x: function(x, axis=axes, keepdims=kept),
        operands=(operand,),
        key=(name, axes, kept),
        text=lambda x: call(f"jnp.{name}", x, **keywords),
    )


def _indexing(last: Equation, producers: Producers) -> Iterator[Proposal]:
    """Rows of a table, out-of-range indices as the one or the other treats them."""
    table, indices = last.inputs
    near: list[Atom] = [indices]
    for _ in range(3):
        near += [
            item
            for equation in map(producers.find, near)
            if equation is not None
            for item in equation.inputs
        ]
    variables = dict.fromkeys(item for item in near if isinstance(item, Var))
    for item in variables:
        if not jnp.issubdtype(aval_of(item).dtype, np.integer):
            continue
        yield Proposal(
            function=lambda t, i: t[i],
            operands=(table, item),
            key=("index",),
            text=lambda t, i: subscript(t, i.text),
        )
        yield Proposal(
            function=lambda t, i: jnp.take(t, i, axis=0),
            operands=(table, item),
            key=("take",),
            text=lambda t, i: call("jnp.take", t, i, axis="0"),
        )


Proposer = Callable[[Equation, Producers], Iterator[Proposal]]

_PROPOSERS: dict[Primitive, tuple[Proposer, ...]] = {
    primitives.div_p: (_softmaxes, _mean, _variance),
    primitives.sub_p: (_softmaxes,),
    primitives.mul_p: (_activations,),
    primitives.select_n_p: (_variance,),
    primitives.gather_p: (_indexing,),
}


def steps(body: Body, protected: Collection[Var]) -> list[Step]:
    """Groups a body's equations into what prints as one.

    Args:
        body: The equations.
        protected: Variables that must stay visible.
    """
    producers = Producers(body)
    readers: dict[Var, list[Equation]] = {}
    for equation in body.equations:
        for item in equation.inputs:
            if isinstance(item, Var):
                readers.setdefault(item, []).append(equation)
    visible = {*protected, *(item for item in body.outputs if isinstance(item, Var))}
    traces: dict[Any, Body | None] = {}
    absorbed: set[Equation] = set()
    made: list[Step] = []
    for equation in reversed(body.equations):
        if equation in absorbed:
            continue
        step = _platform_step(equation, producers, readers, absorbed)
        for propose in () if step else _PROPOSERS.get(equation.primitive, ()):
            for proposal in propose(equation, producers):
                group = _matched(proposal, equation, producers, traces)
                if (
                    group is not None
                    and group.isdisjoint(absorbed)
                    and _closed(group, equation, readers, visible)
                ):
                    absorbed |= group
                    step = _composite(proposal, equation)
                    break
            if step is not None:
                break
        made.append(step or _plain(equation))
    return made[::-1]


def _plain(equation: Equation) -> Step:
    def write(operands: Sequence[Value], context: Context):
        return print_equation(equation, operands, context)

    return Step(
        inputs=equation.inputs,
        outputs=equation.outputs,
        write=write,
        n_captured=sum(
            equation.parameters[name] for name in _CAPTURED.get(equation.primitive, ())
        ),
    )


def _composite(proposal: Proposal, last: Equation) -> Step:
    def write(operands: Sequence[Value], _: Context) -> Value:
        expression = proposal.text(*(exact(operand) for operand in operands))
        return whole(expression, aval_of(last.outputs[0]))

    return Step(inputs=proposal.operands, outputs=last.outputs, write=write)


def _platform_step(
    equation: Equation,
    producers: Producers,
    readers: dict[Var, list[Equation]],
    absorbed: set[Equation],
) -> Step | None:
    """A choice by platform, together with the equation that finds the platform."""
    if not equation.parameters.get("branches_platforms"):
        return None
    platform = producers.find(equation.inputs[0])
    if platform is None or platform.inputs:
        return None
    if readers[platform.outputs[0]] == [equation]:
        absorbed.add(platform)

    def write(operands: Sequence[Value], context: Context):
        return print_platform_dependent(equation, operands, context)

    return Step(inputs=equation.inputs[1:], outputs=equation.outputs, write=write)


def _closed(
    group: set[Equation],
    last: Equation,
    readers: dict[Var, list[Equation]],
    visible: Collection[Var],
) -> bool:
    """Whether nothing outside of a group reads what is inside of it."""
    inner = [v for member in group - {last} for v in member.outputs]
    return all(
        variable not in visible and group.issuperset(readers.get(variable, ()))
        for variable in inner
    )


def _matched(
    proposal: Proposal,
    last: Equation,
    producers: Producers,
    traces: dict[Any, Body | None],
) -> set[Equation] | None:
    """The equations that a proposal is, if it is exactly some up to the last."""
    avals = [aval_of(operand) for operand in proposal.operands]
    key = (proposal.key, *((aval.shape, str(aval.dtype)) for aval in avals))
    if key not in traces:
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
        try:
            traces[key] = flatten(jax.make_jaxpr(proposal.function)(*shapes))
        except (TypeError, ValueError, IndexError):
            traces[key] = None
    pattern = traces[key]
    if pattern is None or pattern.constants or len(pattern.equations) < 2:
        return None
    bound: dict[Var, Atom] = dict(zip(pattern.inputs, proposal.operands, strict=True))
    made = Producers(pattern)
    group: set[Equation] = set()
    end = made.through(pattern.outputs[0], primitives.copy_p)
    if end is None:
        return None
    pairs: list[tuple[Atom, Atom]] = [(end.outputs[0], last.outputs[0])]
    while pairs:
        wanted, actual = pairs.pop()
        if isinstance(wanted, Literal) or isinstance(actual, Literal):
            if not _same_literal(wanted, actual):
                return None
            continue
        if wanted in bound:
            if bound[wanted] is not actual:
                return None
            continue
        ours, theirs = made.find(wanted), producers.find(actual)
        if ours is None or theirs is None or not _same_equation(ours, theirs):
            return None
        bound.update(zip(ours.outputs, theirs.outputs, strict=True))
        if bound[wanted] is not actual:
            return None
        group.add(theirs)
        pairs.extend(zip(ours.inputs, theirs.inputs, strict=True))
    return group


def _same_literal(one: Atom, other: Atom) -> bool:
    return (
        isinstance(one, Literal)
        and isinstance(other, Literal)
        and aval_of(one).dtype == aval_of(other).dtype
        and np.array_equal(one.val, other.val, equal_nan=True)
    )


def _same_equation(one: Equation, other: Equation) -> bool:
    return (
        one.primitive is other.primitive
        and len(one.inputs) == len(other.inputs)
        and len(one.outputs) == len(other.outputs)
        and stable_text(one.parameters) == stable_text(other.parameters)
        and all(
            aval_of(a).shape == aval_of(b).shape
            and aval_of(a).dtype == aval_of(b).dtype
            for a, b in zip(one.outputs, other.outputs, strict=True)
        )
    )
