"""The symbols that cost formulas are written in, and numbers in their place."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.pycode import PythonCodePrinter

if TYPE_CHECKING:
    from ntkplan.cost.work import Work

n1 = sympy.Symbol("n1", positive=True, integer=True)
"""Examples in `x1`."""

n2 = sympy.Symbol("n2", positive=True, integer=True)
"""Examples in `x2`."""

n_outputs = sympy.Symbol("n_outputs", positive=True, integer=True)
"""Outputs of one example, or rather vectors in the output basis."""

Size = int | sympy.Expr
"""A number of things: known, or a formula in the symbols above."""

SYMBOLS: tuple[sympy.Symbol, ...] = (n1, n2, n_outputs)

_FOREIGN = PythonCodePrinter({"fully_qualified_modules": False})


@functools.cache
def product(*sizes: Size) -> Size:
    """Multiplies sizes; what is equal for many leaves is multiplied once.

    Example:
        >>> product(2, n1, 3)
        6*n1
        >>> product()
        1
    """
    numbers = math.prod(size for size in sizes if isinstance(size, int))
    formulas = [size for size in sizes if not isinstance(size, int)]
    return sympy.Mul(numbers, *formulas) if formulas else numbers


@functools.cache
def total(*sizes: Size) -> Size:
    """Adds sizes; what is equal for many leaves is added once.

    Example:
        >>> total(1, n1, n1)
        2*n1 + 1
    """
    if all(isinstance(size, int) for size in sizes):
        return sum(size for size in sizes if isinstance(size, int))
    return sympy.Add(*sizes)


@functools.cache
def most(*sizes: Size) -> Size:
    """Returns the largest of some sizes; nothing is simplified.

    Example:
        >>> most(3, 5)
        5
        >>> most(2 * n1, n2, 2 * n1)
        Max(2*n1, n2)
    """
    if any(isinstance(size, sympy.Expr) for size in sizes):
        distinct = list(dict.fromkeys(sizes))
        return (
            distinct[0] if len(distinct) == 1 else sympy.Max(*distinct, evaluate=False)
        )
    return max((size for size in sizes if not isinstance(size, sympy.Expr)), default=0)


def evaluate(works: Sequence[Work], *, n1: int, n2: int, n_outputs: int) -> list[Work]:
    """Puts numbers in place of the symbols, in all works at once.

    Args:
        works: Works whose sizes are numbers or formulas in the symbols of this module.
        n1: Examples in `x1`.
        n2: Examples in `x2`.
        n_outputs: Vectors in the output basis.

    Returns:
        The same works, in the same order, with numbers only.

    Example:
        >>> from ntkplan.cost import symbols
        >>> from ntkplan.cost.work import Work
        >>> work = Work(peak_bytes=4 * symbols.n1)
        >>> evaluate([work], n1=3, n2=1, n_outputs=1)[0].peak_bytes
        12
    """
    return compile_works(works)(n1, n2, n_outputs)


def compile_works(works: Sequence[Work]) -> Callable[[int, int, int], list[Work]]:
    """Compiles all formulas of the works into one function.

    Equal formulas are computed once. The caller keeps the function for as long as it
    may ask again.

    Args:
        works: Works whose sizes are numbers or formulas.

    Returns:
        A function of `n1`, `n2` and `n_outputs` that gives the works with numbers.
    """
    formulas: dict[sympy.Expr, int] = {}
    plans = [_WorkPlan(work, formulas) for work in works]
    compute = compile_formulas(list(formulas))

    def at(n1: int, n2: int, n_outputs: int) -> list[Work]:
        values = compute(n1, n2, n_outputs)
        return [plan.fill(values) for plan in plans]

    return at


class _Slots:
    """Which fields of one record wait for which formula."""

    def __init__(self, record: Any, formulas: dict[sympy.Expr, int]) -> None:
        self.record = record
        self.fields = record.__dict__
        self.slots = [
            (name, formulas.setdefault(value, len(formulas)))
            for name, value in self.fields.items()
            if isinstance(value, sympy.Expr)
        ]

    def fill(self, values: Sequence[float]) -> Any:
        if not self.slots:
            return self.record
        filled = {name: values[slot] for name, slot in self.slots}
        return type(self.record)(**{**self.fields, **filled})


class _WorkPlan:
    """One work, its operations and its own fields apart."""

    def __init__(self, work: Work, formulas: dict[sympy.Expr, int]) -> None:
        self.operations = [_Slots(item, formulas) for item in work.operations]
        self.own = _Slots(work, formulas)

    def fill(self, values: Sequence[float]) -> Work:
        work = self.own.fill(values)
        if any(operation.slots for operation in self.operations):
            operations = tuple(item.fill(values) for item in self.operations)
            work = dataclasses.replace(work, operations=operations)
        return work


def compile_formulas(
    formulas: Sequence[sympy.Expr],
) -> Callable[[int, int, int], Sequence[float]]:
    """Returns one function of `n1`, `n2`, `n_outputs` that computes all formulas.

    The usual formulas are sums of monomials, and for these printing the source here
    takes a tenth of what sympy's own printer takes, which is asked for all others.
    """
    known: dict[sympy.Basic, str] = {}
    names = ", ".join(symbol.name for symbol in SYMBOLS)
    values = ", ".join(
        _source(formula, known) or str(_FOREIGN.doprint(formula))
        for formula in formulas
    )
    # As lambdify would, without its search of all formulas for functions of its own.
    return eval(f"lambda {names}: [{values}]", {**vars(math)})


def _source(formula: sympy.Basic, texts: dict[sympy.Basic, str]) -> str | None:
    """Returns Python source for a formula, or None for a function unknown here."""
    known = texts.get(formula)
    if known is not None:
        return known
    if isinstance(formula, sympy.Integer):
        text: str | None = f"({int(formula)})"
    elif isinstance(formula, sympy.Rational):
        text = f"({formula.p}/{formula.q})"
    elif isinstance(formula, sympy.Float):
        text = repr(float(formula))
    elif isinstance(formula, sympy.Symbol):
        text = formula.name if formula in SYMBOLS else None
    else:
        parts = [_source(part, texts) for part in formula.args]
        text = None if None in parts else _join(formula, [str(part) for part in parts])
    if text is not None:
        texts[formula] = text
    return text


def _join(formula: sympy.Basic, parts: list[str]) -> str | None:
    """Joins the source of a formula's arguments."""
    if isinstance(formula, sympy.Add):
        return f"({' + '.join(parts)})"
    if isinstance(formula, sympy.Mul):
        return f"({_product(formula, parts)})"
    if isinstance(formula, sympy.Pow):
        return f"({parts[0]} ** {parts[1]})"
    if isinstance(formula, sympy.Max | sympy.Min):
        name = "max" if isinstance(formula, sympy.Max) else "min"
        return f"{name}({', '.join(parts)})"
    if isinstance(formula, sympy.ceiling | sympy.floor):
        name = "ceil" if isinstance(formula, sympy.ceiling) else "floor"
        return f"{name}({parts[0]})"
    return None


def _product(formula: sympy.Mul, parts: list[str]) -> str:
    """Joins factors; a fraction divides at the end, so that whole results are exact."""
    first = formula.args[0]
    if isinstance(first, sympy.Rational) and not isinstance(first, sympy.Integer):
        return f"({' * '.join([str(first.p), *parts[1:]])}) / {first.q}"
    return " * ".join(parts)
