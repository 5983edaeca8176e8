"""Statements out of straight-line model code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ntkplan._jax import Var
from ntkplan.emit.draft import Added, Draft
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.primitives.composite import steps
from ntkplan.emit.primitives.context import IDENTIFIER, Module, Step
from ntkplan.emit.primitives.convolution import convolution_layouts, extras
from ntkplan.emit.primitives.value import (
    array_value,
    aval_of,
)
from ntkplan.emit.user_calls import UserCalls
from ntkplan.emit.writer import write_body
from ntkplan.ir.equation import Body

_SEVERAL = 3
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrintedBody:
    """Straight-line model code as Python source.

    The source reads `jax`, `jnp` (`jax.numpy`) and `lax` (`jax.lax`), its helpers, its
    constants and its references.

    Attributes:
        lines: Statements for the inside of a function, without indentation; none is
            longer than 84 columns, so that one level of it fits in 88. A nested
            function's lines, and the empty ones around it, are items of their own.
        names: The expression of every kept variable and every output.
        helpers: Source of module-level functions, to be placed before the lines' use.
        constants: Closed-over arrays by name; they must be bound as JAX arrays.
        references: Functions, by name, of what cannot be printed. They take the
            equation's variables and return a list.
        reasons: Why each of them cannot.
    """

    lines: tuple[str, ...]
    names: Mapping[Var, str]
    helpers: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    references: Mapping[str, Callable[..., Any]]
    reasons: Mapping[str, str]


def print_body(
    body: Body,
    *,
    input_names: Sequence[str],
    name_hints: Mapping[Var, str] = _NOTHING,
    after: Mapping[Var, Added] = _NOTHING,
    keep: Collection[Var] = (),
    inside_parts: Collection[Var] = (),
    taken: Collection[str] = (),
    outlined: Callable[[Sequence[Step]], Sequence[Step]] = list,
    turns_kernels: bool = False,
) -> PrintedBody:
    """Prints a flat body as readable statements.

    Args:
        body: What `ntkplan.trace.jaxpr.flatten` gives.
        input_names: An expression for every input, such as `x` or `w0`.
        name_hints: Wanted names of variables; they are made unique.
        after: What is added to a variable where it is defined.
        keep: Variables that get a name, even when they are read once. Every output
            gets one too.
        inside_parts: Further variables that must not vanish in what prints as one;
            they have names in functions of their own.
        taken: Names that must not be used.
        outlined: Puts calls in the place of steps.
        turns_kernels: Whether derivatives of convolutions are quick in loops on a CPU.

    Returns:
        The statements, and what they need around them. The same body gives the same
        text.
    """
    outputs = [item for item in body.outputs if isinstance(item, Var)]
    words = {
        word
        for text in (*input_names, *(added.text for added in after.values()))
        for word in IDENTIFIER.findall(text)
    }
    module = Module({*taken, *words})
    module.turns_kernels = turns_kernels
    module.layouts = _frequent_layouts(body, 1 if turns_kernels else _SEVERAL)
    visible = frozenset({*keep, *outputs, *after})
    draft = Draft(
        steps=tuple(outlined(steps(body, visible | {*inside_parts}))),
        visible=visible,
        hints=name_hints,
        after=after,
        returned_by=UserCalls(body).returned_by(()),
    )
    inputs = {
        variable: array_value(text, aval_of(variable))
        for variable, text in zip(body.inputs, input_names, strict=True)
    }
    writer = write_body(body, draft, module, module.outside, WIDTH, inputs)
    names = {
        variable: writer.values[variable].expression.text
        for variable in dict.fromkeys([*keep, *outputs])
    }
    return PrintedBody(
        lines=tuple(writer.lines()),
        names=names,
        helpers=tuple(module.helpers.values()),
        constants=module.constants,
        references=module.references,
        reasons=module.reasons,
    )


def _frequent_layouts(body: Body, least: int) -> dict[tuple[str, ...], frozenset[str]]:
    """Returns the orders of axes that so many convolutions of a body have.

    With each is said what any of these has beside strides.
    """
    found: dict[tuple[str, ...], list[frozenset[str]]] = {}
    for equation in body.equations:
        layouts = convolution_layouts(equation, by_default=least == 1)
        if layouts is not None:
            found.setdefault(layouts, []).append(extras(equation))
    return {
        layouts: frozenset().union(*each)
        for layouts, each in found.items()
        if len(each) >= least
    }
