"""From one output of a model to its plan: the passes, in order."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax

from ntkplan.approximation.combine import sum_of_logits_spec
from ntkplan.approximation.parts import Planned
from ntkplan.approximation.probes import Probes
from ntkplan.approximation.readout import readout_paths
from ntkplan.approximation.search import within_tolerance
from ntkplan.assembly import assemble
from ntkplan.cost.profile import DeviceProfile
from ntkplan.cut_plans import assemble_cut
from ntkplan.errors import OutputError
from ntkplan.ir.graph import KernelGraph, restricted
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import Tuning
from ntkplan.ir.use import Layer
from ntkplan.planner.biases import with_biases
from ntkplan.planner.cuts import Cut, CutChosen, choose_best, find_cuts
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest
from ntkplan.planner.study import Study
from ntkplan.planner.uncut import Chosen
from ntkplan.plans import Plan
from ntkplan.signature import Signature
from ntkplan.trace.coverage import prove_covered
from ntkplan.trace.layers import Layering, find_layers
from ntkplan.tuning.arrays import stand_in, with_examples
from ntkplan.tuning.tune import tune as tune_choice


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is the same for every output of a model.

    Attributes:
        subject: The model's name, in words.
        signature: Shapes that the kernel takes.
        n1: Examples in `x1`.
        n2: Examples in `x2`, or None where it is absent.
        profile: The device.
        limit_bytes: What the kernel may need at once.
        precision: Of every contraction, or None.
        request: The methods asked for.
        tuning: What measuring needs, or None where nothing is measured.
        probing: The tolerance and where it is compared, or None where all is exact.
    """

    subject: str
    signature: Signature
    n1: int
    n2: int | None
    profile: DeviceProfile
    limit_bytes: float
    precision: str | None
    request: MethodRequest
    tuning: TuningTask | None
    probing: tuple[float, Probes] | None

    @property
    def n2_run(self) -> int:
        """Examples that `x2` stands for."""
        return self.n1 if self.n2 is None else self.n2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TuningTask:
    """What measuring needs.

    Attributes:
        budget_s: Seconds that it may take for one output.
        params: As they were given.
        x: x1 and x2 as they were given.
        batch_axis: Their example axis, or None.
    """

    budget_s: float
    params: Any
    x: tuple[Any, Any]
    batch_axis: int | None

    def arguments(self, n1: int, n2: int | None) -> tuple[Any, ...]:
        """Returns what a kernel is timed with: what was given, as far as it is."""
        params, x1, x2 = jax.tree.map(stand_in, (self.params, *self.x))
        x1 = with_examples(x1, self.batch_axis, n1)
        if n2 is None:
            return params, x1, None
        x2 = x1 if x2 is None else x2
        return params, x1, with_examples(x2, self.batch_axis, n2)


def plan_output(
    task: Task, path: str, graph: KernelGraph, spec: KernelSpec, limit_bytes: float
) -> Plan:
    """Plans one output, exactly or within a tolerance.

    Args:
        task: What is the same for every output.
        path: The output's path in what the model returns, empty for the only one.
        graph: The model of one example, with this output.
        spec: The kernel.
        limit_bytes: What this output's kernel may need at once.
    """
    chooser = _chooser(task, path, graph, spec, limit_bytes)
    if task.probing is None:
        return chooser.plan_at(task.n1, task.n2)
    tolerance, probes = task.probing

    def plan_of(paths: frozenset[str], sums_logits: bool) -> Planned:
        part_spec = sum_of_logits_spec(spec) if sums_logits else spec
        part = _chooser(task, path, restricted(graph, paths), part_spec, limit_bytes)

        @functools.cache
        def planned(n1: int, n2: int | None, part_bytes: float) -> Plan:
            return dataclasses.replace(part, limit_bytes=part_bytes).plan_at(n1, n2)

        return planned

    return within_tolerance(
        chooser.plan_at(task.n1, task.n2),
        plan_of,
        readout=readout_paths(chooser.layering.graph, chooser.layering.layers),
        tolerance=tolerance,
        probes=probes,
    )


def _chooser(
    task: Task, path: str, graph: KernelGraph, spec: KernelSpec, limit_bytes: float
) -> _Chooser:
    """Traces the layers and studies them once; `plan.at` chooses from there again."""
    layering = find_layers(graph)
    prove_covered(layering)
    study = Study(layering.graph, _active_layers(path, layering.layers), spec)
    return _Chooser(
        task=task,
        layering=layering,
        study=study,
        cuts=find_cuts(graph, layering, study, task.request),
        subject=f"output {path} of {task.subject}" if path else task.subject,
        limit_bytes=limit_bytes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Chooser:
    """Chooses and assembles a plan for any numbers of examples.

    Attributes:
        task: What was asked for.
        layering: The model with its layers.
        study: What there is to choose from.
        cuts: Where the model may be cut.
        subject: What the kernel is of, in words.
        limit_bytes: What it may need at once.
    """

    task: Task
    layering: Layering
    study: Study
    cuts: tuple[Cut, ...]
    subject: str
    limit_bytes: float

    def plan_at(self, n1: int, n2: int | None) -> Plan:
        """Plans for some numbers of examples; `n2` is None where `x2` is absent."""
        task = self.task
        problem = Problem(
            study=self.study,
            n1=n1,
            n2=n1 if n2 is None else n2,
            symmetric=n2 is None,
            profile=task.profile,
            precision=task.precision,
        )
        best = choose_best(problem, self.cuts, task.request, self.limit_bytes)
        if task.tuning is None:
            return self._assembled(best, n2, None)
        best, record = self._tuned(best, task.tuning, n1, n2)
        return self._assembled(best, n2, record)

    def _assembled(
        self, best: Chosen | CutChosen, n2: int | None, tuning: Tuning | None
    ) -> Plan:
        parts: dict[str, Any] = {
            "subject": self.subject,
            "signature": self.task.signature,
            "n2": n2,
            "plan_at": self.plan_at,
            "tuning": tuning,
        }
        if isinstance(best, CutChosen):
            best = dataclasses.replace(
                best, hidden=with_biases(best.hidden), tail=with_biases(best.tail)
            )
            return assemble_cut(best, self.layering, self.task.request, **parts)
        return assemble(with_biases(best), self.layering, self.task.request, **parts)

    def _tuned(
        self, untuned: Chosen | CutChosen, tuning: TuningTask, n1: int, n2: int | None
    ) -> tuple[Chosen | CutChosen, Tuning]:
        """Measures what is close, and chooses by that."""
        return tune_choice(
            untuned,
            self.task.profile,
            limit_bytes=self.limit_bytes,
            budget_s=tuning.budget_s,
            module_of=lambda choice: self._assembled(choice, n2, None).emit(),
            arguments=functools.partial(tuning.arguments, n1, n2),
            shapes=[self.task.signature.fields, n1, n2],
        )


def _active_layers(path: str, layers: Sequence[Layer]) -> list[Layer]:
    active = [layer for layer in layers if not layer.idle]
    if not active:
        only = f", or leave {path} out of what f returns" if path else ""
        raise OutputError(
            path=path,
            why="it depends on no leaf that is differentiated: the kernel is zero",
            hint="check that f uses its first argument, and what wrt= leaves in" + only,
        )
    return active
