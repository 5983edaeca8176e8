"""Which leaves sum of logits may stand in for: the largest saving first."""

from __future__ import annotations

import dataclasses
import functools

from ntkplan.approximation.parts import Parts, PlanOf
from ntkplan.approximation.probes import Probes, relative_error
from ntkplan.errors import MemoryLimitError
from ntkplan.ir.plan import Approximation, Trial
from ntkplan.planner.explain import approximation_notes
from ntkplan.plans import Plan

# Single leaves that are tried: those whose own part takes longest.
_MOST_LEAVES = 4


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
    stand_ins = _StandIns(whole, plan_of)
    groups = _groups(whole, readout)
    taken: frozenset[str] = frozenset()
    best, error = whole, 0.0
    trials: list[Trial] = []
    wanted = None
    for what in _by_saving(groups, whole, stand_ins):
        paths = taken | groups[what]
        tried = None if paths == taken else stand_ins.faster(what, paths, best)
        if tried is None:
            continue
        wanted = probes.kernel(whole) if wanted is None else wanted
        found = relative_error(probes.kernel(tried), wanted)
        trials.append(Trial(what=what, error=found, seconds=tried.cost.seconds))
        if found <= tolerance:
            taken, best, error = paths, tried, found
    record = Approximation(
        tolerance=tolerance,
        paths=tuple(layer.path for layer in whole.layers if layer.path in taken),
        error=error,
        n_probes=probes.count,
        exact_seconds=whole.cost.seconds,
        seconds=best.cost.seconds,
        trials=tuple(trials),
        too_large=tuple(stand_ins.too_large),
    )
    if not taken:
        notes = (*whole.notes, *approximation_notes(record))
        return dataclasses.replace(whole, approximation=record, notes=notes)
    return stand_ins.parts(taken).plan(record)


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
    groups: dict[str, frozenset[str]], whole: Plan, stand_ins: _StandIns
) -> list[str]:
    """Returns the groups that save time by themselves, the largest saving first."""
    costs: dict[str, float] = {}
    for what, paths in groups.items():
        plan = stand_ins.faster(what, paths, whole)
        if plan is not None:
            costs[what] = plan.cost.seconds
    return sorted(costs, key=lambda what: costs[what])


class _StandIns:
    """Kernels in which sum of logits stands in for some leaves.

    Attributes:
        too_large: What would save time and leaves no room for the rest, in words.
    """

    def __init__(self, whole: Plan, plan_of: PlanOf) -> None:
        self._whole, self._plan_of = whole, plan_of
        self.parts = functools.cache(self._parts)
        self.too_large: dict[str, None] = {}

    def _parts(self, paths: frozenset[str]) -> Parts:
        return Parts(
            whole=self._whole,
            exact=self._plan_of(_active(self._whole) - paths, False),
            summed=self._plan_of(paths, True),
        )

    def faster(self, what: str, paths: frozenset[str], best: Plan) -> Plan | None:
        """Plans a kernel, or returns None where none that fits is faster.

        Args:
            what: The leaves that are new, in words.
            paths: All leaves that sum of logits stands in for.
            best: What the kernel has to be faster than.
        """
        if paths == _active(self._whole):
            return None
        parts = self.parts(paths)
        try:
            if parts.at_best_s() >= best.cost.seconds:
                return None
            plan = parts.plan()
        except MemoryLimitError:
            plan = None
        if plan is not None and plan.cost.seconds < best.cost.seconds:
            return plan
        self.too_large[what] = None
        return None
