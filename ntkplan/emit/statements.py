"""Statements over labelled arrays as Python: einsums, sums and windows."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import numpy

from ntkplan.emit.expression import (
    Expression,
    atom,
    binary,
    call,
    method,
    statement,
    subscript,
)
from ntkplan.emit.layout import WIDTH
from ntkplan.emit.primitives.value import number_text
from ntkplan.emit.window_text import cut_shape, cut_text
from ntkplan.errors import InternalError
from ntkplan.ir.program import Block
from ntkplan.ir.statements import (
    Array,
    Contract,
    Cut,
    Match,
    Reduce,
    Scatter,
    Statement,
    Sum,
    Take,
)
from ntkplan.methods.network import DIAGONAL, EXAMPLES, FULL, TRACE

_FIXED_LETTERS = {
    EXAMPLES[0]: "n",
    EXAMPLES[1]: "m",
    FULL[0]: "o",
    FULL[1]: "p",
    TRACE: "r",
    DIAGONAL: "d",
}


class BlockPrinter:
    """Prints one block; all its einsums use the same letters for the same axes."""

    def __init__(
        self,
        block: Block,
        kernel_labels: Sequence[str],
        input_names: Mapping[str, str],
        precision: str | None,
        dtype: str,
        sums_dtype: str | None,
        width: int = WIDTH,
    ) -> None:
        """Gives letters to the block's labels.

        Args:
            block: What to print.
            kernel_labels: Labels of `theta`.
            input_names: Python text for the arrays that the block is given.
            precision: Name of the precision of every product, or None.
            width: Columns that a line may have.
            dtype: The data type of the kernel.
            sums_dtype: The data type that sums are made in, if not the operands'.
        """
        self._block = block
        self._kernel_labels = kernel_labels
        self._names = dict(input_names)
        self._precision, self._sums_dtype = precision, sums_dtype
        self._dtype = numpy.dtype(dtype)
        self._width = width
        self._roles = _roles(block.statements)

    @property
    def _sums(self) -> str:
        return f"jnp.{self._sums_dtype}"

    def lines(self, *, target: str) -> list[str]:
        """Returns the block's statements.

        Args:
            target: What stands before the first result; others are added to `theta`.
        """
        statements = list(self._block.statements)
        inline = self._inlined()
        lines = [
            line
            for item in statements
            if item is not inline
            for line in self._assign(item)
        ]
        for array, factor in self._block.results:
            value = (
                self._expression(inline)
                if inline is not None
                else self._ordered(array, self._kernel_labels)
            )
            lines += statement(target, self._scaled(value, factor), self._width)
            target = "theta += "
        return lines

    def _inlined(self) -> Statement | None:
        """Returns the statement that may stand where its result is added, if any."""
        if len(self._block.results) != 1 or not self._block.statements:
            return None
        last = self._block.statements[-1]
        ((array, _),) = self._block.results
        fits = list(array.labels) == list(self._kernel_labels)
        alone = array.name == last.target.name and array.name not in self._block.shared
        return last if fits and alone else None

    def _assign(self, item: Statement) -> list[str]:
        name = self._name(item.target)
        lines = statement(f"{name} = ", self._expression(item), self._width)
        if isinstance(item, Cut) and cut_shape(item) != item.shape:
            kept, sizes = f"*{name}.shape[:{item.n_kept}]", map(str, item.shape)
            shaped = method(atom(name), "reshape", kept, *sizes)
            lines += statement(f"{name} = ", shaped, self._width)
        return lines

    def _name(self, array: Array) -> str:
        name = self._whole_name(array)
        if array.step is None:
            return name
        return f"{name}[{':, ' * array.step}step]"

    def _whole_name(self, array: Array) -> str:
        known = self._names.get(array.name)
        if known is not None:
            return known
        if array.name.startswith("windows:"):
            _, number, side = array.name.split(":")
            cuts = {
                item.target.name.split(":")[1]
                for item in self._block.statements
                if isinstance(item, Cut) and item.target.name.startswith("windows:")
            }
            suffix = f"_{sorted(cuts, key=int).index(number)}" if len(cuts) > 1 else ""
            return f"windows{int(side) + 1}{suffix}"
        return array.name

    def _expression(self, item: Statement) -> Expression:
        match item:
            case Contract():
                return self._product(item)
            case Reduce():
                axes = [
                    str(axis)
                    for axis, label in enumerate(item.source.labels)
                    if label not in item.target.labels
                ]
                chosen = axes[0] if len(axes) == 1 else f"({', '.join(axes)})"
                dtype = [] if self._sums_dtype is None else [f"dtype={self._sums}"]
                source = atom(self._name(item.source))
                return method(source, "sum", f"axis={chosen}", *dtype)
            case Cut():
                return cut_text(atom(self._name(item.source)), item, self._dtype)
            case Match():
                return self._match(item)
            case Scatter():
                return self._scatter(item)
            case Take():
                return self._take(item)
            case Sum():
                parts = [
                    self._scaled(self._ordered(term, item.target.labels), factor)
                    for term, factor in zip(item.terms, item.factors, strict=True)
                ]
                total = parts[0]
                for part in parts[1:]:
                    total = binary("+", total, part)
                return total

    def _scaled(self, value: Expression, factor: float) -> Expression:
        number = self._dtype.type(factor)
        return value if number == 1 else binary("*", atom(number_text(number)), value)

    def _ordered(self, array: Array, labels: Sequence[str]) -> Expression:
        """Brings an array's axes into the given order."""
        value = atom(self._name(array))
        if list(array.labels) == list(labels):
            return value
        order = [str(array.labels.index(label)) for label in labels]
        return method(value, "transpose", *order)

    def _product(self, item: Contract) -> Expression:
        left, right, target = item.left, item.right, item.target
        summed = [label for label in left.labels if label not in target.labels]
        if not summed and not set(right.labels) - set(target.labels):
            stretched = [
                self._stretched(array, target.labels) for array in (left, right)
            ]
            names = [self._name(array) for array in (left, right)]
            first, second = stretched
            # Where both are stretched, an outer product reads better as an einsum.
            if first and second and {first.text, second.text} & set(names):
                return binary("*", first, second)
        if item.entrywise and item.spread is not None:
            return self._product_and_sum(item, item.spread)
        keywords: dict[str, Expression | str] = {}
        if self._precision is not None:
            keywords["precision"] = f'"{self._precision}"'
        if self._sums_dtype is not None:
            keywords["preferred_element_type"] = self._sums
        if item.is_of_rows:
            names = [atom(self._name(array)) for array in (left, right)]
            return call("inner_products", *names, atom(str(len(summed))), **keywords)
        letters = _letters((left, right, target), self._roles)
        first, second, result = (
            "".join(letters[label] for label in array.labels)
            for array in (left, right, target)
        )
        spec = f"{first},{second}->{result}"
        return call(
            "jnp.einsum",
            atom(f'"{spec}"'),
            atom(self._name(left)),
            atom(self._name(right)),
            **keywords,
        )

    def _product_and_sum(self, item: Contract, order: Sequence[str]) -> Expression:
        """Prints a batched product for a device that is slow at tiny ones."""
        axes = [str(order.index(x)) for x in order if x not in item.target.labels]
        left, right = (self._stretched(x, order) for x in (item.left, item.right))
        if left is None or right is None:
            raise InternalError("operands do not line up", item)
        chosen = axes[0] if len(axes) == 1 else f"({', '.join(axes)})"
        return call("jnp.sum", binary("*", left, right), axis=chosen)

    def _stretched(self, array: Array, labels: Sequence[str]) -> Expression | None:
        """Inserts axes so that numpy broadcasting lines an array up with the labels."""
        present = [label for label in labels if label in array.labels]
        if present != list(array.labels):
            return None
        items = [":" if label in array.labels else "None" for label in labels]
        while items and items[-1] == ":":
            items.pop()
        if "None" not in items:
            return atom(self._name(array))
        trailing = len(labels) - len(items)
        return subscript(atom(self._name(array)), *items, *(["..."] * (trailing > 0)))

    def _match(self, item: Match) -> Expression:
        """Compares rows; rows that are out of bounds match none."""
        labels = item.target.labels
        rows = [self._spread(array, labels) for array in (item.left, item.right)]
        return call("match_rows", *rows, atom(str(item.size)))

    def _spread(self, array: Array, labels: Sequence[str]) -> Expression:
        """Transposes and stretches indices so that they line up with the labels."""
        order = [label for label in labels if label in array.stored]
        value = atom(self._name(array))
        if order != list(array.stored):
            value = method(
                value, "transpose", *(str(array.stored.index(x)) for x in order)
            )
        items = [":" if label in order else "None" for label in labels]
        return subscript(value, *items) if "None" in items else value

    def _scatter(self, item: Scatter) -> Expression:
        """Adds up values by row, for every label that both operands keep."""
        rest = [x for x in item.source.labels if x not in item.rows.stored]
        order = [*item.kept, *item.positions, *rest]
        values = self._ordered(item.source, order)
        if self._sums_dtype is not None:
            values = method(values, "astype", self._sums)
        rows = self._in_memory(item.rows, [*item.kept, *item.positions])
        return self._mapped("sum_rows", len(item.kept), values, rows, f", {item.size}")

    def _take(self, item: Take) -> Expression:
        """Takes rows, for every label that both operands have."""
        rest = [x for x in item.source.labels if x not in (*item.kept, item.rows.hot)]
        values = self._ordered(item.source, [*item.kept, str(item.rows.hot), *rest])
        own = [x for x in item.rows.stored if x not in item.kept]
        rows = self._in_memory(item.rows, [*item.kept, *own])
        return self._mapped("take_rows", len(item.kept), values, rows, "")

    def _in_memory(self, array: Array, order: Sequence[str]) -> Expression:
        value = atom(self._name(array))
        if list(order) == list(array.stored):
            return value
        axes = (str(array.stored.index(label)) for label in order)
        return method(value, "transpose", *axes)

    def _mapped(
        self, name: str, times: int, values: Expression, rows: Expression, rest: str
    ) -> Expression:
        function = name if not rest else f"lambda v, r: {name}(v, r{rest})"
        if times == 0:
            return call(name, values, rows, *([atom(rest[2:])] if rest else []))
        for _ in range(times):
            function = f"jax.vmap({function})"
        return call(function, values, rows)


# Letters for labels of one role: the first row where there is one such label. Within a
# row they ascend, since `jnp.einsum` sums over axes in the order of their letters.
_LETTERS = {
    "position1": ("s", "ijkl"),
    "position2": ("t", "stuv"),
    "inner": ("x", "abcefghk"),
    "outer": ("y", "uvwxyz"),
    "both": ("g", "gh"),
}


def _roles(statements: Sequence[Statement]) -> dict[str, str]:
    """Says of every label whether it counts positions or entries of the parameter."""
    in_activations: set[str] = set()
    in_cotangents: set[str] = set()
    labels: set[str] = set()
    for item in statements:
        for array in (*item.sources, item.target):
            labels.update(array.labels)
            if array.name.startswith(("activations:", "windows")):
                in_activations.update(array.labels)
            if array.name.startswith("cotangents:"):
                in_cotangents.update(array.labels)

    def role(label: str) -> str:
        for number in (1, 2):
            if label.endswith(f"@{number - 1}"):
                return f"position{number}"
        if label in in_activations:
            return "both" if label in in_cotangents else "inner"
        return "outer"

    return {label: role(label) for label in labels if label not in _FIXED_LETTERS}


def _letters(arrays: Sequence[Array], roles: Mapping[str, str]) -> dict[str, str]:
    """Gives a letter to every label of one statement.

    A statement of the second side alone is spelled like that of the first, so that the
    compiler finds the two to be the same where `x2` is absent.
    """
    labels = list(dict.fromkeys(label for array in arrays for label in array.labels))
    alone = EXAMPLES[0] not in labels
    fixed = dict(_FIXED_LETTERS)
    if alone:
        fixed |= {EXAMPLES[1]: "n", FULL[1]: "o"}
    letters = {label: fixed[label] for label in labels if label in fixed}
    spare = iter(string.ascii_uppercase)
    for role, (single, several) in _LETTERS.items():
        members = [label for label in labels if roles.get(label) == role]
        if alone and role == "position2":
            single, several = _LETTERS["position1"]
        pool = single if len(members) == 1 else several
        for number, label in enumerate(members):
            free = number < len(pool) and pool[number] not in letters.values()
            letters[label] = pool[number] if free else next(spare)
    return letters
