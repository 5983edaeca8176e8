"""Whole kernels timed against each other."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ntkplan.compiling import options_of
from ntkplan.emit.load import load
from ntkplan.emit.source import Module
from ntkplan.ir.plan import TimedPlan
from ntkplan.tuning.rivals import Rival
from ntkplan.tuning.session import Session
from ntkplan.tuning.timed_leaves import Choice
from ntkplan.tuning.timer import Budget, Measured

# One call may take this part of what is left of the budget; a race makes several.
_LONGEST_CALL = 0.15

_TOO_SLOW = "the budget does not last"
_TOO_SLOW_BEFORE = "an earlier run could not in such a budget"
_TOO_LARGE = "it does not fit the memory that is free"

ModuleOf = Callable[[Choice], Module]


def fastest(
    session: Session,
    found: Sequence[Rival],
    module_of: ModuleOf,
    arguments: Callable[[], tuple[Any, ...]],
    shapes: Sequence[object],
    budget: Budget,
) -> tuple[Rival, tuple[TimedPlan, ...]]:
    """Times whole kernels and returns the fastest.

    The first stays unless another is faster by more than may be noise. Without any
    timing the one of the least estimate is taken.

    Args:
        session: Where timings are kept.
        found: The choices, that by the model alone first.
        module_of: Emits the kernel of a choice.
        arguments: Makes what kernels are called with.
        shapes: Shapes and dtypes of that, as JSON can hold them.
        budget: Seconds to spend.

    Returns:
        What is taken; and what was measured, that first, the others by their time.
    """
    if len(found) == 1:
        return found[0], (_told(found[0], None, "it has no rival"),)
    modules = [module_of(rival.choice) for rival in found]
    keys = [
        session.key("kernel", _identity(module), shapes, options_of(rival.choice.cost))
        for module, rival in zip(modules, found, strict=True)
    ]
    measured = None
    # What is called by reference is not in the text: no key tells two such apart.
    named = not any(module.references for module in modules)
    if named:
        measured = session.known(keys)
    why = [_TOO_SLOW_BEFORE] * len(found)
    if measured is None:
        measured, why = _timed(session, found, modules, arguments, budget)
        if named:
            session.keep(keys, measured, [rival.what for rival in found])
    taken = _winner(found, measured)
    order = sorted(
        range(len(found)),
        key=lambda number: (number != taken, _order(found[number], measured[number])),
    )
    told = tuple(_told(found[n], measured[n], why[n]) for n in order)
    return found[taken], told


def _order(rival: Rival, measured: Measured | None) -> tuple[bool, float]:
    """Orders what was measured by its time, and the rest after it by its estimate."""
    if measured is None:
        return True, rival.choice.cost.seconds
    return False, measured.seconds


def _winner(found: Sequence[Rival], measured: Sequence[Measured | None]) -> int:
    """Returns the number of what is taken."""
    order = sorted(range(len(found)), key=lambda n: _order(found[n], measured[n]))
    first = next((item for item in measured if item is not None), None)
    if first is None:
        return order[0]
    surely_faster = (
        number
        for number in order
        if (item := measured[number]) is not None and item.beats(first)
    )
    return next(surely_faster, measured.index(first))


def _told(rival: Rival, measured: Measured | None, why_not: str) -> TimedPlan:
    return TimedPlan(
        what=rival.what,
        predicted_seconds=rival.choice.cost.seconds,
        measured_seconds=None if measured is None else measured.seconds,
        why_not="" if measured is not None else why_not,
    )


def _timed(
    session: Session,
    found: Sequence[Rival],
    modules: Sequence[Module],
    arguments: Callable[[], tuple[Any, ...]],
    budget: Budget,
) -> tuple[list[Measured | None], list[str]]:
    """Times what the budget and the memory allow.

    Returns:
        What every choice took, and why that is not known. Where only one could be made
        ready there is nothing to compare, and it is known of none.
    """
    why = [
        _TOO_LARGE if rival.choice.cost.peak_bytes > session.free_bytes else _TOO_SLOW
        for rival in found
    ]
    ready = _in_time(session, found, modules, why, budget)
    measured: list[Measured | None] = [None] * len(found)
    if len(ready) < 2:
        return measured, why
    given = arguments()
    compiled = session.compiled(
        [_kernel(modules[number]) for number in ready],
        [given] * len(ready),
        costs=[found[number].choice.cost for number in ready],
    )
    calls: dict[int, Callable[[], Any]] = {}
    for number, call in zip(ready, compiled, strict=True):
        if call is None:
            why[number] = _TOO_LARGE
        else:
            calls[number] = call
    if len(calls) > 1 and budget.left_s > 0:
        raced = session.race(list(calls.values()), budget.left_s, thorough=True)
        for number, item in zip(calls, raced, strict=True):
            measured[number] = item
    return measured, why


def _in_time(
    session: Session,
    found: Sequence[Rival],
    modules: Sequence[Module],
    why: Sequence[str],
    budget: Budget,
) -> list[int]:
    """Returns the choices that fit, as many as can be compiled and run in time."""
    ready: list[int] = []
    needed_s = 0.0
    for number, (rival, module) in enumerate(zip(found, modules, strict=True)):
        runs_s = rival.choice.cost.seconds / _LONGEST_CALL
        compile_s = session.compile_estimate_s(lines=module.text.count("\n"))
        fits = why[number] is not _TOO_LARGE
        if fits and max(needed_s + compile_s, runs_s) <= budget.left_s:
            ready.append(number)
            needed_s += compile_s
    return ready


def _kernel(module: Module) -> Callable[..., Any]:
    namespace = load(
        module.text, constants=module.constants, references=module.references
    )
    return namespace["kernel"]


def _identity(module: Module) -> list[object]:
    """Returns what a module computes, without comments and estimates."""
    tree = ast.parse(module.text)
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    text = "\n".join(ast.unparse(node) for node in kept)
    constants = [
        [name, list(jax.numpy.shape(array)), str(jax.numpy.result_type(array))]
        for name, array in sorted(module.constants.items())
    ]
    return [text, constants]
