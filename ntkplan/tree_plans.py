"""Plans of models that return a tree of arrays: one kernel for each array."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ntkplan.compiling import called, device_notes
from ntkplan.cost.profile import DeviceProfile
from ntkplan.emit.frame import framed, kernels_of
from ntkplan.emit.join import join_modules
from ntkplan.emit.load import load
from ntkplan.emit.source import Module
from ntkplan.errors import MemoryLimitError, UnknownOptionError
from ntkplan.export.artifact import Export
from ntkplan.export.export_kernel import PLATFORMS, Subject, export_kernel
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.plan import LayerPlan, PlanCost
from ntkplan.plan_json.modules import module_fields, module_of
from ntkplan.plan_json.records import plain, record
from ntkplan.plan_json.text import TREE_PLAN, plan_fields, read, written
from ntkplan.plan_json.trees import structure_fields, structure_of
from ntkplan.planner.explain import alternatives_table, totals
from ntkplan.plans import Plan, frame_of, plan_of, without_model
from ntkplan.saved_module import save_module
from ntkplan.signature import Signature, check_arguments, sizes_asked_for
from ntkplan.sized_kernel import SizedKernel
from ntkplan.source_formats import formatted
from ntkplan.source_html import notebook_html
from ntkplan.symbolic import Symbolic


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TreePlan:
    """How the kernel of every output of a model will be computed.

    Each output has a plan of its own, with everything that a `Plan` has. They are
    computed one after the other, in one module.

    Attributes:
        outputs: The plan of every output, by its path in what `f` returns.
        structure: The tree that `f` returns, a `PyTreeDef`; the kernel returns it too.
        cost: What all of them are estimated to cost.
        subject: What the kernels are of, in words.
        plan_at: Plans the same for other numbers of examples.
        printed: The finished module, of a plan that was read from JSON.
    """

    outputs: Mapping[str, Plan]
    structure: Any
    cost: PlanCost
    subject: str
    plan_at: Callable[[int, int | None], TreePlan]
    printed: Module | None = None

    @property
    def layers(self) -> tuple[LayerPlan, ...]:
        """What was chosen for every leaf, output by output."""
        return tuple(layer for plan in self.outputs.values() for layer in plan.layers)

    @property
    def device(self) -> DeviceProfile:
        """The profile that the estimates rest on."""
        return self._any.device

    @property
    def signature(self) -> Signature:
        """Shapes that the kernel takes."""
        return self._any.signature

    @property
    def n1(self) -> int:
        """Examples in `x1` that were planned for."""
        return self._any.n1

    @property
    def n2(self) -> int | None:
        """Examples in `x2`, or None where `x2` is absent."""
        return self._any.n2

    @property
    def _any(self) -> Plan:
        return next(iter(self.outputs.values()))

    def __repr__(self) -> str:
        """Returns a line; `str` returns the tables."""
        return self.signature.brief(self, self.headline, self.device.name)

    def __str__(self) -> str:
        """Returns the table of every output, and what all of them cost."""
        parts = [self.headline]
        parts += [str(plan) for plan in self.outputs.values()]
        parts.append("\n".join(["All outputs", *totals(self.cost)]))
        return "\n\n".join(parts)

    @property
    def headline(self) -> str:
        """What the plan is of, in words."""
        count = len(self.outputs)
        listed = ", ".join(self.outputs)
        plural = "s" * (count > 1)
        return f"The neural tangent kernel{plural} of {self.subject}: {listed}"

    def at(self, *, n1: int | None = None, n2: int | None = None) -> TreePlan:
        """Plans the same kernels for other numbers of examples, without tracing again.

        Everything is priced anew. With `tune=` every output is measured at these sizes,
        with `tolerance=` compared again.

        Args:
            n1: Examples in `x1`; None for as many as before.
            n2: Examples in `x2`; None for as many as before, or none.

        Raises:
            InvalidSizeError: A number is below one or not whole, or the plan is of a
                whole batch.
            MemoryLimitError: Nothing fits the memory limit at these sizes.
        """
        planned = (self.n1, self.n2)
        return self.plan_at(*sizes_asked_for(self._any.spec, planned, n1, n2))

    @functools.cached_property
    def symbolic(self) -> Mapping[str, Symbolic]:
        """The work of every output as sympy formulas in `n1`, `n2`, `n_outputs`."""
        return {path: plan.symbolic for path, plan in self.outputs.items()}

    def explain(self, path: str) -> str:
        """Lists every candidate of a leaf, output by output.

        Args:
            path: The leaf's path, as the tables show it.

        Raises:
            UnknownOptionError: No leaf has that path.
        """
        found = [
            f"Output {output}. {alternatives_table(layer, plan.formulas_of(path))}"
            for output, plan in self.outputs.items()
            for layer in plan.layers
            if layer.path == path
        ]
        if not found:
            known = tuple(dict.fromkeys(layer.path for layer in self.layers))
            raise UnknownOptionError(option="leaf", value=path, known=known)
        return "\n\n".join(found)

    @functools.cached_property
    def module(self) -> Module:
        """The emitted module: that of every output, and the tree of their kernels."""
        if self.printed is not None:
            return self.printed
        joined = join_modules(
            {path: plan.emit() for path, plan in self.outputs.items()},
            self.structure,
            title=f"{self.headline}.",
            notes=[
                f"{note}." for note in (*totals(self.cost), *device_notes(self.device))
            ],
        )
        return framed(joined, frame_of(*self.outputs.values()))

    def source(self, format: str = "python") -> str:  # noqa: A002
        """Returns the text of the emitted module, the same that `compile` runs.

        Args:
            format: `python`, or `html` for a page with the estimates in the margin,
                coloured where pygments is installed.

        Raises:
            UnknownOptionError: There is no such format.
        """
        return formatted(self, format)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the source with its estimates."""
        return notebook_html(self.module.text, self.layers, self.cost, self.headline)

    def save(self, path: str | Path, *, model: str | None = None) -> Path:
        """Writes one file for all outputs, which imports only JAX and NumPy.

        Its function `kernel` returns the tree; `kernel_logits` and its like return the
        kernel of one output.

        Args:
            path: Where to; a file that is there is replaced.
            model: Where the file is to import `f` from, for parts that have no source;
                as for `Plan.save`.

        Returns:
            The path.

        Raises:
            UnprintableError: Parts of the model have no source.
        """
        return save_module(self.module, path, self.signature, model)

    def export(self, platforms: str | Sequence[str] = PLATFORMS) -> Export:
        """Exports the kernels of all outputs as one, as that of a `Plan`.

        Where the tree that `f` returns has types other than Python's own, the exported
        kernel returns a dictionary by the paths of `outputs`.

        Args:
            platforms: What it is compiled for when it is called.

        Raises:
            ExportError: JAX cannot export it.
            MissingExtraError: The extra `export` is not installed.
        """
        subject = Subject(
            module=self.module,
            headline=self.headline,
            params=self.signature.params,
            x=self.signature.x,
            batch_axis=self.signature.batch_axis,
            n1=self.n1,
            n2=self.n2,
            matched=self._any.spec.matched,
            outputs=tuple(self.outputs),
            structure=self.structure,
        )
        return export_kernel(subject, platforms)

    def to_json(self) -> str:
        """Returns all of the plan but the model as text, for `from_json`.

        Raises:
            UnprintableError: Parts of the model have no source.
            UnwritablePlanError: A tree holds nodes of the user's own types.
        """
        outputs = {
            path: {"module": module_fields(plan.module), **plan_fields(plan)}
            for path, plan in self.outputs.items()
        }
        fields = {
            "outputs": outputs,
            "structure": structure_fields(self.structure, "what f returns"),
            "cost": plain(self.cost),
            "subject": self.subject,
        }
        return written(TREE_PLAN, self.module, fields)

    @classmethod
    def from_json(cls, text: str) -> TreePlan:
        """Reads what `to_json` wrote: a plan that emits the same bytes.

        Raises:
            UnreadablePlanError: It is another text, of another schema, or was changed.
        """

        def build(module: Module, fields: Mapping[str, Any]) -> TreePlan:
            outputs = {
                path: plan_of(module_of(held["module"]), held)
                for path, held in fields["outputs"].items()
            }
            signature = next(iter(outputs.values())).signature
            return cls(
                outputs=outputs,
                structure=structure_of(fields["structure"]),
                cost=record(PlanCost, fields["cost"], "cost"),
                subject=fields["subject"],
                plan_at=without_model(signature.call),
                printed=module,
            )

        return read(text, TREE_PLAN, build)

    def compile(self) -> TreeKernel:
        """Returns the kernel function, `kernel(params, x1, x2=None)`.

        It is plain JAX, as that of a `Plan`. The kernel of each output is compiled by
        itself, so that they do not need their memory at the same time.
        """
        namespace = load(
            self.module.text,
            constants=self.module.constants,
            references=self.module.references,
        )
        plans = self.outputs.values()
        for name, plan in zip(kernels_of(self.module), plans, strict=True):
            namespace[name] = _call_of(plan.sized(namespace[name]))
        return TreeKernel(plan=self, function=namespace["kernel"])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TreeKernel:
    """A compiled kernel function of a tree, which checks what it is given.

    Attributes:
        plan: The plan that it follows.
        function: The emitted function.
    """

    plan: TreePlan
    function: Callable[..., Any]

    def __repr__(self) -> str:
        """Returns a line."""
        plan = self.plan
        return plan.signature.brief(self, plan.headline, plan.device.name)

    @property
    def output_pairs(self) -> Any:
        """For every output the axes of its kernel that stand in pairs, as a tree."""
        return self.plan.structure.unflatten(
            [plan.spec.output_pairs for plan in self.plan.outputs.values()]
        )

    def __call__(self, params: Any, x1: Any, x2: Any = None) -> Any:
        """Computes the kernels.

        Args:
            params: Parameters, of the tree and shapes that were planned for.
            x1: Examples.
            x2: Other examples, or None for `x1` itself.

        Returns:
            The tree that `f` returns, with a kernel for every array.

        Raises:
            MismatchedInputsError: Something has not the shape that was planned for.
        """
        matched = any(plan.spec.matched for plan in self.plan.outputs.values())
        check_arguments(self.plan.signature, params, x1, x2, matched=matched)
        return self.function(params, x1, x2)


def _call_of(kernel: SizedKernel) -> Callable[..., Any]:
    """Returns the function that the tree's own function calls for an output."""

    def call(params: Any, x1: Any, x2: Any = None) -> Any:
        compiled = kernel.compiled(x1, x2)
        return called(kernel.function, compiled, params, x1, x2)

    return call


def plan_tree(
    kernel_bytes: Mapping[str, float],
    plan_output: Callable[[str, float], Plan],
    *,
    structure: Any,
    subject: str,
    limit_bytes: float,
    plan_at: Callable[[int, int | None], TreePlan],
) -> TreePlan:
    """Plans output after output, each beside the finished kernels of all others.

    Args:
        kernel_bytes: Bytes of every output's kernel, by path.
        plan_output: Plans the output of that path within so many bytes.
        structure: The tree of the outputs, a `PyTreeDef`.
        subject: What the kernels are of, in words.
        limit_bytes: What all of it has to fit into.
        plan_at: Plans the same for other numbers of examples.

    Raises:
        MemoryLimitError: An output does not fit; with the least that all of them need.
    """
    total = sum(kernel_bytes.values())
    others = {path: total - own for path, own in kernel_bytes.items()}
    plans: dict[str, Plan] = {}
    least_bytes = 0.0
    for path in kernel_bytes:
        try:
            plans[path] = plan_output(path, limit_bytes - others[path])
        except MemoryLimitError as error:
            least_bytes = max(least_bytes, error.least_bytes + others[path])
    if least_bytes:
        raise MemoryLimitError(
            limit_bytes=int(limit_bytes), least_bytes=math.ceil(least_bytes)
        )
    cost = dataclasses.replace(
        PlanCost.sum_of([plan.cost for plan in plans.values()]),
        peak_bytes=max(
            plan.cost.peak_bytes + others[path] for path, plan in plans.items()
        ),
        memory_limit_bytes=limit_bytes,
    )
    return TreePlan(
        outputs=plans,
        structure=structure,
        cost=cost,
        subject=subject,
        plan_at=plan_at,
    )


def kernel_bytes(spec: KernelSpec, dtype: str, n1: int, n2: int) -> float:
    """Returns the size of a kernel."""
    examples = n1 if spec.matched else n1 * n2
    return examples * math.prod(spec.result_axes) * jax.numpy.dtype(dtype).itemsize
