"""Reads a compiler's own estimates out of a compiled program's text."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping

from benchmarks.targets.devices import Target

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = .*?\s([a-z][a-z0-9\-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_COSTS = re.compile(r'"reification_cost":(\[.*?\])')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_BODY = re.compile(r"body=%?([\w.\-]+)")
_CALLED = re.compile(r"(?:to_apply|calls)=%?([\w.\-]+)")
_CALLEE = re.compile(r'custom_call_target="([^"]*)"')
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")

_FREE = frozenset(
    (
        "parameter",
        "constant",
        "bitcast",
        "tuple",
        "get-tuple-element",
        "after-all",
        "partition-id",
        "copy-start",
        "copy-done",
        "slice-start",
        "slice-done",
        "opt-barrier",
        "custom-call-start",
    )
)

_FREE_CALLS = frozenset(("ConcatBitcast",))
"""Custom calls that name a place in memory and do nothing."""


class MissingEstimateError(ValueError):
    """The compiler says nothing of an instruction that takes time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a compiler expects of a program.

    Attributes:
        seconds: How long it takes.
        kernels: How many pieces are launched one after the other.
    """

    seconds: float
    kernels: int

    def plus(self, other: Estimate, times: int = 1) -> Estimate:
        """Adds another estimate, some number of times."""
        return Estimate(
            seconds=self.seconds + times * other.seconds,
            kernels=self.kernels + times * other.kernels,
        )


def read_estimate(text: str, target: Target) -> Estimate:
    """Sums up the estimates of a program, loops by their trip counts.

    Args:
        text: The compiled program, as `compiled.as_text()` prints it.
        target: What it was compiled for.

    Raises:
        MissingEstimateError: An instruction has none, or a loop no trip count.

    Example:
        >>> from benchmarks.targets.devices import TARGETS
        >>> text = '''ENTRY %main (a: f32[2]) -> f32[2] {
        ...   %a = f32[2]{0} parameter(0)
        ...   ROOT %b = f32[2]{0} negate(%a), backend_config={"estimated_cycles":"3000"}
        ... }'''
        >>> read_estimate(text, TARGETS["tpu_v5e"])
        Estimate(seconds=2e-06, kernels=1)
    """
    computations, entry = _computations(text)
    own = _cycles if target.clock_hz else _analytic

    def total(name: str) -> Estimate:
        found = Estimate(seconds=0.0, kernels=0)
        for line in computations[name]:
            inner, times = _instruction(line, target, own, total)
            found = found.plus(inner, times)
        return found

    return total(entry)


def _computations(text: str) -> tuple[Mapping[str, list[str]], str]:
    """Splits a program into its computations, and says which is run."""
    found: dict[str, list[str]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = header.group(2)
            found[current] = []
            entry = current if header.group(1) else entry
        elif current and _INSTRUCTION.match(line):
            found[current].append(line)
    return found, entry


def _instruction(
    line: str,
    target: Target,
    own: Callable[[str, Target], float | None],
    total: Callable[[str], Estimate],
) -> tuple[Estimate, int]:
    """Returns what one instruction costs, and how often."""
    match = _INSTRUCTION.match(line)
    name, opcode = match.groups() if match else ("", "")
    if opcode == "while":
        trips, body = _TRIPS.search(line), _BODY.search(line)
        if trips is None or body is None:
            raise MissingEstimateError(f"{name}: the loop has no known trip count")
        return total(body.group(1)), int(trips.group(1))
    if opcode == "conditional":
        branches = _BRANCHES.search(line)
        if branches is None:
            raise MissingEstimateError(f"{name}: no branches")
        names = [part.strip().lstrip("%") for part in branches.group(1).split(",")]
        return max(map(total, names), key=lambda item: item.seconds), 1
    if opcode in ("call", "async-start"):
        called = _CALLED.search(line)
        if called is not None:
            return total(called.group(1)), 1
    if opcode in _FREE or opcode.endswith(("-done", "-update")):
        return Estimate(seconds=0.0, kernels=0), 1
    callee = _CALLEE.search(line)
    if callee and callee.group(1) in _FREE_CALLS:
        return Estimate(seconds=0.0, kernels=0), 1
    seconds = own(line, target)
    if seconds is None:
        what = f"{opcode} {callee.group(1)}" if callee else opcode
        raise MissingEstimateError(f"{name}: {what} has no estimate")
    return Estimate(seconds=seconds + target.launch_s, kernels=1), 1


def _cycles(line: str, target: Target) -> float | None:
    found = _CYCLES.search(line)
    return None if found is None else int(found.group(1)) / target.clock_hz


def _analytic(line: str, target: Target) -> float | None:
    del target
    found = _COSTS.search(line)
    costs = json.loads(found.group(1)) if found else []
    for cost in costs:
        if not cost["name"]:
            return cost["exec_time_us"] * 1e-6
    return None
