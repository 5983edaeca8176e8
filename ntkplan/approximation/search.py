"""Which leaves sum of logits may stand in for: the largest saving first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from ntkplan.approximation.combine import combined
from ntkplan.approximation.probes import Probes, relative_error
from ntkplan.errors import MemoryLimitError
from ntkplan.ir.plan import Approximation, Trial
from ntkplan.planner.explain import approximation_notes
from ntkplan.plans import Plan

# Single leaves that are tried: those whose own part takes longest.
_MOST_LEAVES = 4

PlanOf = Callable[[frozenset[str], bool], Plan]
"""Plans the kernel of some leaves by their paths; True: of the sum of logits."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """A kernel of two parts.

    Attributes:
        exact: The exact part.
        summed: The sum of logits.
        plan: Both together.
    """

    exact: Plan
    summed: Plan
    plan: Plan

    @classmethod
    def of(cls, paths: frozenset[str], whole: Plan, plan_of: PlanOf) -> _Parts:
        exact = plan_of(_active(whole) - paths, False)
        summed = plan_of(paths, True)
        return cls(exact=exact, summed=summed, plan=combined(exact, summed, whole))


def within_tolerance(
    whole: Plan,
    plan_of: PlanOf,
    *,
    readout: frozenset[str],
    tolerance: float,
    probes: Probes,
) -> Plan:
    """Lets sum of logits stand in for leaves, as far as the error allows.

    The whole body is tried, the readout exact, and single leaves; the largest predicted
    saving comes first, and what was taken stays. Every trial compares the kernel that
    would run with the exact one, all leaves together, on the probes.

    Args:
        whole: The exact plan.
        plan_of: Plans a part of it.
        readout: Leaves that stay exact.
        tolerance: Largest relative error, in the Frobenius norm.
        probes: Where kernels are compared.

    Returns:
        The best plan within the tolerance, with what was tried; the exact one where
        there is none that saves time.
    """
    taken: frozenset[str] = frozenset()
    best = whole
    parts: _Parts | None = None
    error = 0.0
    trials: list[Trial] = []
    wanted = None
    for what, group in _by_saving(_groups(whole, readout), whole, plan_of):
        paths = taken | group
        if paths == taken or paths == _active(whole):
            continue
        tried = _parts(paths, whole, plan_of)
        if tried is None or tried.plan.cost.seconds >= best.cost.seconds:
            continue
        wanted = probes.kernel(whole) if wanted is None else wanted
        found = relative_error(probes.kernel(tried.plan), wanted)
        trials.append(Trial(what=what, error=found, seconds=tried.plan.cost.seconds))
        if found <= tolerance:
            taken, best, parts, error = paths, tried.plan, tried, found
    record = Approximation(
        tolerance=tolerance,
        paths=tuple(layer.path for layer in whole.layers if layer.path in taken),
        error=error,
        n_probes=probes.count,
        exact_seconds=whole.cost.seconds,
        seconds=best.cost.seconds,
        trials=tuple(trials),
    )
    if parts is None:
        notes = (*whole.notes, *approximation_notes(record))
        return dataclasses.replace(whole, approximation=record, notes=notes)
    return combined(parts.exact, parts.summed, whole, record)


def _active(whole: Plan) -> frozenset[str]:
    return frozenset(layer.path for layer in whole.layers if layer.n_uses)


def _groups(whole: Plan, readout: frozenset[str]) -> dict[str, frozenset[str]]:
    """Returns what sum of logits may stand in for, by what it is in words."""
    body = _active(whole) - readout
    groups: dict[str, frozenset[str]] = {}
    if readout and len(body) > 1:
        groups["the body, the readout exact"] = body
    leaves = [layer for layer in whole.layers if layer.path in body]
    leaves.sort(key=lambda layer: -layer.chosen.seconds)
    for layer in leaves[:_MOST_LEAVES]:
        groups[layer.path] = frozenset((layer.path,))
    return groups


def _by_saving(
    groups: dict[str, frozenset[str]], whole: Plan, plan_of: PlanOf
) -> Iterable[tuple[str, frozenset[str]]]:
    """Returns the groups that save time by themselves, the largest saving first."""
    costs: dict[str, float] = {}
    for what, paths in groups.items():
        parts = None if paths == _active(whole) else _parts(paths, whole, plan_of)
        if parts is not None and parts.plan.cost.seconds < whole.cost.seconds:
            costs[what] = parts.plan.cost.seconds
    return [
        (what, groups[what]) for what in sorted(costs, key=lambda what: costs[what])
    ]


def _parts(paths: frozenset[str], whole: Plan, plan_of: PlanOf) -> _Parts | None:
    """Plans two parts, or returns None where they do not fit the memory together."""
    try:
        parts = _Parts.of(paths, whole, plan_of)
    except MemoryLimitError:
        return None
    cost = parts.plan.cost
    return parts if cost.peak_bytes <= cost.memory_limit_bytes else None
