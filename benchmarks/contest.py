"""Compiles the candidates of one configuration and times them against each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmarks import candidates
from benchmarks.measure import Timed, interleave, summary
from benchmarks.problems import Inputs

# What a candidate has in common with another one that is the same program.
_MEASURED = (
    "first_call_s",
    "median_s",
    "minimum_s",
    "samples_s",
    "round_calls",
    "difference_fraction",
    "difference_from",
    "error",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is spent on each candidate.

    Attributes:
        rounds: Rounds of timing.
        budget_s: Seconds of timed calls after which a candidate is run no more; each
            is run at least once.
        temp_bytes: Temporary memory, as the compiler has it, over which a candidate is
            not run.
        patience_s: Seconds that tracing and compiling may take.
        slow_factor: A candidate whose first call took that many times as long as the
            quickest first call has that call as its only sample; None for never.
    """

    rounds: int
    budget_s: float
    temp_bytes: float
    patience_s: int
    slow_factor: float | None = None


@dataclasses.dataclass(kw_only=True, eq=False)
class Contest:
    """The candidates of a configuration.

    Attributes:
        inputs: The model and its arguments.
        limits: What may be spent on each candidate.
        rows: What is known of each candidate, as JSON can hold it.
        prepared: Those that were compiled, without second ones of the same program.
        programs: Those of them that ran.
        kernels: What these returned.
    """

    inputs: Inputs
    limits: Limits
    rows: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    prepared: dict[str, candidates.Prepared] = dataclasses.field(default_factory=dict)
    programs: dict[str, Timed] = dataclasses.field(default_factory=dict)
    kernels: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def enter(self, name: str) -> None:
        """Compiles a candidate and runs it once; its row says why where it cannot be.

        Args:
            name: As `candidates.prepare` takes it.
        """
        try:
            self.rows[name] = self._ready(name)
        except Exception as error:
            # That a candidate fails is a result too: the others are still measured,
            # and the report names it.
            self.rows[name] = {"error": f"{type(error).__name__}: {error}"[:500]}

    def _ready(self, name: str) -> dict[str, Any]:
        prepared = candidates.prepare(
            name, self.inputs, self.prepared, patience_s=self.limits.patience_s
        )
        facts = prepared.facts
        if "same_program_as" in facts:
            return facts
        self.prepared[name] = prepared
        temp_bytes = facts["memory"].get("temp_bytes", 0)
        if temp_bytes > self.limits.temp_bytes:
            limit = self.limits.temp_bytes / 2**30
            needs = f"needs {temp_bytes / 2**30:.1f} GiB of temporaries"
            return {**facts, "error": f"{needs}, over the limit of {limit:.1f}"}
        program = Timed(
            function=prepared.compiled,
            arguments=self.inputs.arguments,
            budget_s=self.limits.budget_s,
        )
        kernel, facts["first_call_s"] = program.warm_up()
        self.kernels[name] = np.asarray(kernel)
        self.programs[name] = program
        return facts

    def time(self) -> None:
        """Times all that ran, in turn, and keeps every sample in their rows."""
        factor = self.limits.slow_factor
        if factor is not None and self.programs:
            least_s = min(program.first_s for program in self.programs.values())
            for program in self.programs.values():
                if program.first_s > factor * least_s:
                    program.settle()
        interleave(list(self.programs.values()), self.limits.rounds)
        for name, program in self.programs.items():
            self.rows[name].update(summary(program.samples_s))
            self.rows[name]["round_calls"] = list(program.round_calls)

    def share(self) -> None:
        """Gives what was measured to those that are the same program as another."""
        for row in self.rows.values():
            same = self.rows.get(row.get("same_program_as", ""), {})
            row.update({key: same[key] for key in _MEASURED if key in same})
