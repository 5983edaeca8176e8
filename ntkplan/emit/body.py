"""Statements out of straight-line model code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ntkplan._jax import Literal, Var
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    atom,
    binary,
    call,
    sequence,
    statement,
)
from ntkplan.emit.primitives.composite import steps
from ntkplan.emit.primitives.constant import constant_value
from ntkplan.emit.primitives.context import (
    IDENTIFIER,
    Context,
    Group,
    Module,
    Result,
    Signature,
    Step,
)
from ntkplan.emit.primitives.value import (
    Unpacked,
    Value,
    array_value,
    aval_of,
    exact,
    number_value,
    typed,
)
from ntkplan.ir.equation import Atom, Body

WIDTH = 84
_DEEPEST = 3
_FARTHEST = 3
_NAME_COLUMNS = 8
_NOTHING: Mapping[Any, str] = MappingProxyType({})


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
    after: Mapping[Var, str] = _NOTHING,
    keep: Collection[Var] = (),
    taken: Collection[str] = (),
) -> PrintedBody:
    """Prints a flat body as readable statements.

    Args:
        body: What `ntkplan.trace.jaxpr.flatten` gives.
        input_names: An expression for every input, such as `x` or `w0`.
        name_hints: Wanted names of variables; they are made unique.
        after: An expression that is added to a variable where it is defined.
        keep: Variables that get a name, even when they are read once. Every output
            gets one too.
        taken: Names that must not be used.

    Returns:
        The statements, and what they need around them. The same body gives the same
        text.
    """
    outputs = [item for item in body.outputs if isinstance(item, Var)]
    words = {
        word
        for text in (*input_names, *after.values())
        for word in IDENTIFIER.findall(text)
    }
    module = Module({*taken, *words})
    visible = frozenset({*keep, *outputs, *after})
    plan = _Plan(
        steps=tuple(steps(body, visible)),
        visible=visible,
        hints=name_hints,
        after=after,
    )
    inputs = {
        variable: array_value(text, aval_of(variable))
        for variable, text in zip(body.inputs, input_names, strict=True)
    }
    writer = _write(body, plan, module, module.outside, WIDTH, inputs)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be printed, before it is decided what gets a name."""

    steps: tuple[Step, ...]
    visible: frozenset[Var]
    hints: Mapping[Var, str]
    after: Mapping[Var, str]


def _write(
    body: Body,
    plan: _Plan,
    module: Module,
    local: Collection[str],
    width: int,
    inputs: Mapping[Var, Value],
    results: Sequence[Group] = (),
) -> _Writer:
    """Prints twice: first to decide what gets a name, then to name it in order."""
    first = _Writer(plan, module, local, width, None)
    first.run(body, inputs, results)
    second = _Writer(plan, module, local, width, frozenset(first.named))
    second.run(body, inputs, results)
    return second


class _Writer:
    """Prints the steps of one function, in order."""

    def __init__(
        self,
        plan: _Plan,
        module: Module,
        local: Collection[str],
        width: int,
        named: frozenset[Var] | None,
    ) -> None:
        self.plan = plan
        self.width = width
        self.deciding = named is None
        self.named: set[Var] = set(named or ())
        self.values: dict[Var, Value] = {}
        self.context = Context(
            module=module,
            local=set(local),
            width=width,
            deciding=self.deciding,
            write_function=write_function,
        )
        self._wanted = frozenset(plan.hints.values())
        self._statements: list[tuple[int, list[str]]] = []
        self._pending: dict[Var, int] = {}
        self._uses: dict[Var, int] = {}
        self._count = 0

    def run(
        self, body: Body, inputs: Mapping[Var, Value], results: Sequence[Group]
    ) -> None:
        """Prints all steps; `values` then has every variable that is visible.

        Args:
            body: What the steps are of.
            inputs: Its arguments.
            results: What to return at the end, if anything.
        """
        self._count_uses(body)
        for variable, value in inputs.items():
            self.values[variable] = value
            if variable in self.plan.after:
                self._tap_input(variable)
        for variable, array in body.constants:
            value = constant_value(variable, array, self.context.module)
            self._define(variable, value, index=-1)
        for index, step in enumerate(self.plan.steps):
            self._step(step, index)
        if results:
            ending = self._return(body, results)
            self._statements.append((len(self.plan.steps), ending))

    def lines(self) -> list[str]:
        """The statements so far, with an empty line before every nested function."""
        lines: list[str] = []
        for _, part in sorted(self._statements, key=lambda item: item[0]):
            if part[0].startswith("def ") and lines and lines[-1]:
                lines.append("")
            lines.extend(part)
        return lines

    def read(self, item: Atom) -> Value:
        """What prints for an operand."""
        if isinstance(item, Literal):
            return number_value(item.val, aval_of(item).dtype, aval_of(item).shape)
        return self.values[item]

    def _count_uses(self, body: Body) -> None:
        read = [item for step in self.plan.steps for item in step.inputs]
        for item in (*read, *body.outputs):
            if isinstance(item, Var):
                self._uses[item] = self._uses.get(item, 0) + 1

    def _step(self, step: Step, index: int) -> None:
        variables = [item for item in step.inputs if isinstance(item, Var)]
        if self.deciding:
            captured = step.inputs[: step.n_captured]
            for variable in variables:
                far = variable in self._pending and self._distance(variable) > _FARTHEST
                if far or any(variable is item for item in captured):
                    self._name_pending(variable)
        result = self._print(step, variables)
        for variable in variables:
            self._pending.pop(variable, None)
        if isinstance(result, Unpacked):
            self._unpack(step.outputs, result, index)
        else:
            self._define(step.outputs[0], result, index)

    def _print(self, step: Step, variables: Sequence[Var]) -> Result:
        """Prints a step, with names for the operands that would make it too long."""
        while True:
            self.context.before.clear()
            self.context.has_nested = False
            result = step.write([self.read(item) for item in step.inputs], self.context)
            if not self.deciding or self._is_short(result.expression):
                return result
            nested = [v for v in variables if v in self._pending]
            if not nested:
                return result
            self._name_pending(max(nested, key=self._size))

    def _return(self, body: Body, results: Sequence[Group]) -> list[str]:
        """The last statement, with names for what would make it too long."""
        variables = [item for item in body.outputs if isinstance(item, Var)]
        while True:
            parts = [self._result(body, group) for group in results]
            expression = parts[0] if len(parts) == 1 else _bare_tuple(parts)
            short = len(expression.text) + len("return ") <= self.width
            nested = [v for v in variables if v in self._pending]
            if not self.deciding or not nested:
                break
            if short and expression.depth <= _DEEPEST:
                break
            self._name_pending(max(nested, key=self._size))
        return statement("return ", expression, self.width)

    def _result(self, body: Body, group: Group) -> Expression:
        parts = [
            atom("None")
            if position is None
            else exact(self.read(body.outputs[position]))
            for position in group.positions
        ]
        if len(parts) == 1 and not group.always_tuple:
            return parts[0]
        return sequence(parts) if parts else atom("None")

    def _is_short(self, expression: Expression) -> bool:
        columns = _NAME_COLUMNS + len(expression.text)
        return columns <= self.width and expression.depth <= _DEEPEST

    def _size(self, variable: Var) -> tuple[int, int]:
        expression = self.values[variable].expression
        return expression.depth, len(expression.text)

    def _distance(self, variable: Var) -> int:
        """How many statements stand between a variable's place and the end."""
        start = self._pending[variable]
        return sum(index > start for index, _ in self._statements)

    def _name_pending(self, variable: Var) -> None:
        if variable in self._pending:
            index = self._pending.pop(variable)
            self._assign(variable, self.values[variable], index)

    def _define(self, variable: Var, value: Value, index: int) -> None:
        """Gives a variable its value, under a name where it needs one."""
        if (
            variable in self.plan.visible
            or variable in self.named
            or self.context.has_nested
            or (self._uses.get(variable, 0) > 1 and not value.cheap)
        ):
            self._assign(variable, value, index)
            return
        self.values[variable] = value
        if not value.cheap:
            self._pending[variable] = index

    def _assign(self, variable: Var, value: Value, index: int) -> None:
        """Writes `name = expression`, and adds the tap if there is one."""
        self.named.add(variable)
        visible = variable in self.plan.visible
        expression = exact(value) if visible else typed(value)
        name = self._claim(variable)
        tap = self.plan.after.get(variable)
        before = list(self.context.before)
        self.context.before.clear()
        lines = statement(f"{name} = ", expression, self.width)
        if tap is not None:
            together = f"{name} = {binary('+', expression, atom(tap)).text}"
            if len(together) <= self.width:
                lines = [together]
            else:
                lines += statement(
                    f"{name} = ", binary("+", atom(name), atom(tap)), self.width
                )
        self._statements.append((index, [*before, *lines]))
        aval = aval_of(variable)
        shape = aval.shape if visible else value.shape
        self.values[variable] = dataclasses.replace(
            array_value(name, aval), shape=shape
        )

    def _unpack(self, outputs: Sequence[Var], result: Unpacked, index: int) -> None:
        names: list[str] = []
        taps: list[str] = []
        before = list(self.context.before)
        self.context.before.clear()
        for variable in outputs:
            if not self._uses.get(variable) and variable not in self.plan.visible:
                names.append("_")
                continue
            name = self._claim(variable)
            names.append(name)
            self.named.add(variable)
            self.values[variable] = array_value(name, aval_of(variable))
            if variable in self.plan.after:
                tapped = binary("+", atom(name), atom(self.plan.after[variable]))
                taps += statement(f"{name} = ", tapped, self.width)
        prefix = f"{result.target(names)} = "
        lines = statement(prefix, result.expression, self.width)
        self._statements.append((index, [*before, *lines, *taps]))

    def _tap_input(self, variable: Var) -> None:
        text = self.values[variable].expression.text
        name = text if IDENTIFIER.fullmatch(text) else self._claim(variable)
        tapped = binary("+", atom(text), atom(self.plan.after[variable]))
        lines = statement(f"{name} = ", tapped, self.width)
        self._statements.append((-2, lines))
        self.values[variable] = array_value(name, aval_of(variable))

    def _claim(self, variable: Var) -> str:
        hint = self.plan.hints.get(variable)
        if hint is not None:
            return self.context.claim(hint)
        while True:
            name = f"h{self._count}"
            self._count += 1
            if name not in self._wanted and self.context.claim(name) == name:
                return name


def write_function(
    body: Body,
    signature: Signature,
    *,
    name: str,
    module: Module,
    local: Collection[str],
    width: int,
) -> list[str]:
    """Prints a body as a function definition, and returns its lines."""
    context = Context(
        module=module,
        local=set(local),
        width=width,
        deciding=True,
        write_function=write_function,
    )
    inputs = dict(zip(body.inputs, signature.captured, strict=False))
    parameters: list[str] = []
    unpacking: list[str] = []
    for group in signature.arguments:
        names = _receive(group, context)
        packed = group.always_tuple or len(names) > 1
        parameters.append(context.claim(group.name) if packed else (*names, "_")[0])
        if packed and names:
            comma = "," if len(names) == 1 else ""
            targets = f"({names[0]},)" if comma else ", ".join(names)
            unpacking.append(f"{targets} = {parameters[-1]}")
        for position, text in zip(group.positions, names, strict=True):
            if position is not None:
                variable = body.inputs[position]
                inputs[variable] = array_value(text, aval_of(variable))
    plan = _Plan(steps=tuple(steps(body, ())), visible=frozenset(), hints={}, after={})
    inner = width - len(INDENT)
    writer = _write(body, plan, module, context.local, inner, inputs, signature.results)
    header = call(name, *map(atom, parameters))
    header = dataclasses.replace(header, text=f"{header.text}:", closing="):")
    return [
        *statement("def ", header, width),
        *(f"{INDENT}{line}" for line in unpacking),
        *(f"{INDENT}{line}" if line else "" for line in writer.lines()),
    ]


def _receive(group: Group, context: Context) -> list[str]:
    """Names for the variables of an argument; those that are not read are `_`."""
    several = len(group.positions) > 1
    return [
        "_"
        if position is None
        else context.claim(f"{group.each}{index}" if several else group.each)
        for index, position in enumerate(group.positions)
    ]


def _bare_tuple(parts: Sequence[Expression]) -> Expression:
    """A tuple without brackets where it fits on one line."""
    whole = sequence(parts)
    return dataclasses.replace(whole, text=", ".join(part.text for part in parts))
