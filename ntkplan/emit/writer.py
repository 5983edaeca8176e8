"""Steps to statements: what gets a name, and what is written into its reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from ntkplan._jax import Literal, Var
from ntkplan.emit.draft import Draft
from ntkplan.emit.expression import (
    INDENT,
    Expression,
    apart,
    atom,
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
from ntkplan.emit.primitives.shape import with_axes
from ntkplan.emit.primitives.value import (
    Unpacked,
    Value,
    Written,
    array_value,
    aval_of,
    exact,
    literal_value,
    typed,
)
from ntkplan.ir.equation import Atom, Body

_DEEPEST = 3
_FARTHEST = 3
_NAME_COLUMNS = 8


def write_body(
    body: Body,
    draft: Draft,
    module: Module,
    local: Collection[str],
    width: int,
    inputs: Mapping[Var, Value],
    results: Sequence[Group] = (),
) -> Writer:
    """Prints twice: first to decide what gets a name, then to name it in order.

    What a function of the user's returns is called after it, where that is clear and
    makes no line too long.
    """

    def printed(named: frozenset[Var] | None, returned_by: Mapping[Var, str]) -> Writer:
        own = dataclasses.replace(draft, returned_by=returned_by)
        writer = Writer(own, module, local, width, named)
        writer.run(body, inputs, results)
        return writer

    named = frozenset(printed(None, {}).named)
    best, chosen = printed(named, {}), draft.clear(named)
    n_lines = len(best.lines())
    kept: dict[Var, str] = {}
    for trial in (chosen, *({variable: name} for variable, name in chosen.items())):
        if not trial or len(kept) == len(chosen):
            break
        writer = printed(named, {**kept, **trial})
        if len(writer.lines()) <= n_lines:
            best, kept = writer, {**kept, **trial}
    return best


class Writer:
    """Prints the steps of one function, in order."""

    def __init__(
        self,
        draft: Draft,
        module: Module,
        local: Collection[str],
        width: int,
        named: frozenset[Var] | None,
    ) -> None:
        self.draft = draft
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
        self._wanted = frozenset(draft.hints.values())
        self._statements: list[tuple[int, list[str]]] = []
        self._pending: dict[Var, int] = {}
        self._uses: dict[Var, int] = {}
        # Names by what they were given; those that are changed later are left out.
        self._names_of: dict[str, str] = {}
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
            if variable in self.draft.after:
                self._tap_input(variable)
        for variable, array in body.constants:
            value = constant_value(variable, array, self.context.module)
            self._define(variable, value, index=-1)
        for index, step in enumerate(self.draft.steps):
            self._step(step, index)
        if results:
            ending = self._return(body, results)
            self._statements.append((len(self.draft.steps), ending))

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
            return literal_value(item)
        return self.values[item]

    def _count_uses(self, body: Body) -> None:
        read = [item for step in self.draft.steps for item in step.inputs]
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
        if isinstance(result, Written):
            self._write(step.outputs, result, index)
        elif isinstance(result, Unpacked):
            self._unpack(step.outputs, result, index)
        else:
            self._define(step.outputs[0], result, index)

    def _print(self, step: Step, variables: Sequence[Var]) -> Result:
        """Prints a step, with names for the operands that would make it too long."""
        while True:
            self.context.before.clear()
            self.context.has_nested = False
            result = step.write([self.read(item) for item in step.inputs], self.context)
            hint = self.draft.hints.get(step.outputs[0]) if step.outputs else None
            if not self.deciding or self._is_short(result.expression, hint):
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
            expression = _bare(parts[0]) if len(parts) == 1 else _bare_tuple(parts)
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

    def _is_short(self, expression: Expression, hint: str | None) -> bool:
        name_columns = _NAME_COLUMNS if hint is None else len(f"{hint} = ")
        columns = max(name_columns, _NAME_COLUMNS) + len(expression.text)
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
            variable in self.draft.visible
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
        visible = variable in self.draft.visible
        tap = self.draft.after.get(variable)
        axes = None if visible or tap is not None else value.inserted
        full_shape = value.full_shape
        if axes is not None:
            # Axes of size one are inserted where the name is read.
            value = axes[0]
        expression = exact(value) if visible else typed(value)
        before = list(self.context.before)
        self.context.before.clear()
        name = None if before else self._same(variable, expression)
        if name is None:
            name = self._claim(variable)
            lines = statement(f"{name} = ", expression, self.width)
            if tap is not None:
                together = f"{name} = {tap.to(expression).text}"
                if len(together) <= self.width:
                    lines = [together]
                else:
                    lines += tap.onto(name, self.width)
            else:
                self._names_of.setdefault(expression.text, name)
            self._statements.append((index, [*before, *lines]))
        aval = aval_of(variable)
        if axes is not None:
            root = dataclasses.replace(value, expression=atom(name), cheap=True)
            self.values[variable] = with_axes(root, axes[1], full_shape)
            return
        shape = aval.shape if visible else value.shape
        self.values[variable] = dataclasses.replace(
            array_value(name, aval), shape=shape
        )

    def _same(self, variable: Var, expression: Expression) -> str | None:
        """Returns the name of what is the same, unless this one needs its own.

        Texts are compared, in which names stand for one value each. What JAX's
        functions make of sizes alone, such as the weights of a resize, they make anew
        for every axis.
        """
        own = variable in self.draft.visible or variable in self.draft.hints
        if own or variable in self.draft.after:
            return None
        return self._names_of.get(expression.text)

    def _write(self, outputs: Sequence[Var], result: Written, index: int) -> None:
        names = list(result.names) or [self._claim(variable) for variable in outputs]
        for variable, name in zip(outputs, names, strict=True):
            self.named.add(variable)
            self.values[variable] = array_value(name, aval_of(variable))
        self._statements.append((index, result.lines(names)))

    def _unpack(self, outputs: Sequence[Var], result: Unpacked, index: int) -> None:
        names: list[str] = []
        taps: list[str] = []
        before = list(self.context.before)
        self.context.before.clear()
        for variable in outputs:
            if not self._uses.get(variable) and variable not in self.draft.visible:
                names.append("_")
                continue
            name = self._claim(variable)
            names.append(name)
            self.named.add(variable)
            self.values[variable] = array_value(name, aval_of(variable))
            if variable in self.draft.after:
                taps += self.draft.after[variable].onto(name, self.width)
        target = result.target(names)
        lines = statement(f"{target} = ", result.expression, self.width)
        self._statements.append((index, [*before, *lines, *taps]))

    def _tap_input(self, variable: Var) -> None:
        text = self.values[variable].expression.text
        name = text if IDENTIFIER.fullmatch(text) else self._claim(variable)
        tapped = self.draft.after[variable].to(atom(text))
        lines = statement(f"{name} = ", tapped, self.width)
        self._statements.append((-2, lines))
        self.values[variable] = array_value(name, aval_of(variable))

    def _claim(self, variable: Var) -> str:
        hint = self.draft.hints.get(variable)
        if hint is not None:
            return self.context.claim(hint)
        function = self.draft.returned_by.get(variable)
        name = f"{function}_out"
        if function and name not in self._wanted and self.context.claim(name) == name:
            return name
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
            given = atom(parameters[-1])
            unpacking += statement(f"{targets} = ", given, width - len(INDENT))
        for position, text in zip(group.positions, names, strict=True):
            if position is not None:
                variable = body.inputs[position]
                inputs[variable] = array_value(text, aval_of(variable))
    draft = Draft(steps=tuple(steps(body, ())), visible=frozenset(), hints={}, after={})
    inner = width - len(INDENT)
    writer = write_body(
        body, draft, module, context.local, inner, inputs, signature.results
    )
    lines = apart(writer.lines()) if unpacking else writer.lines()
    header = call(name, *map(atom, parameters))
    header = dataclasses.replace(header, text=f"{header.text}:", closing="):")
    return [
        *statement("def ", header, width),
        *(f"{INDENT}{line}" for line in unpacking),
        *(f"{INDENT}{line}" if line else "" for line in lines),
    ]


def _receive(group: Group, context: Context) -> list[str]:
    """Names for the variables of an argument; those that are not read are `_`."""
    return [
        "_" if position is None else context.claim_argument(group, index)
        for index, position in enumerate(group.positions)
    ]


def _bare(value: Expression) -> Expression:
    """A value without the brackets of a tuple of several."""
    if not value.collection or len(value.items) < 2:
        return value
    return _bare_tuple(value.items)


def _bare_tuple(parts: Sequence[Expression]) -> Expression:
    """A tuple without brackets where it fits on one line."""
    whole = sequence(parts)
    return dataclasses.replace(whole, text=", ".join(part.text for part in parts))
