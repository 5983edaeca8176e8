"""What `check` was given to compare: the kernel to call, and what it is of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ntkplan.errors import ArgumentTypeError, ConflictingOptionsError
from ntkplan.export.artifact import Export
from ntkplan.ir.kernel import KernelSpec
from ntkplan.options import Axes, kernel_spec
from ntkplan.plans import Kernel, Plan
from ntkplan.run.check import N_EXAMPLES
from ntkplan.trace.build import output_arrays, output_shapes
from ntkplan.tree_plans import TreeKernel, TreePlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What the caller of `check` says that a kernel is of, as options of `plan`.

    Attributes:
        kernel: As for `plan`; None where nothing was said.
        trace_axes: Likewise.
        diagonal_axes: Likewise.
        pairs: Likewise.
        batch_axis: As for `plan`; 0 where nothing was said.
    """

    kernel: str | None
    trace_axes: Axes
    diagonal_axes: Axes
    pairs: str | None
    batch_axis: int | None

    def given(self) -> list[str]:
        """Returns the names of the options that say something."""
        nothing = Claim(
            kernel=None, trace_axes=None, diagonal_axes=None, pairs=None, batch_axis=0
        )
        return [
            field.name
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(nothing, field.name)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CheckedKernel:
    """A kernel that is compared with the dense one.

    Attributes:
        function: `function(params, x)`, an array or a tree of arrays.
        specs: What each array is of, by the output's path.
        batch_axis: The example axis of every array of `x`, or None.
        n_examples: How many examples to compare.
    """

    function: Callable[..., Any]
    specs: Mapping[str, KernelSpec]
    batch_axis: int | None
    n_examples: int = N_EXAMPLES


def checked_kernel(
    kernel_or_plan: Any, f: Callable[..., Any], params: Any, x: Any, claim: Claim
) -> CheckedKernel:
    """Says what `check` compares.

    Args:
        kernel_or_plan: A plan, its kernel, an export, or any `kernel(params, x1)`.
        f: The model.
        params: Its parameters.
        x: Examples.
        claim: What the kernel is of, where it does not know by itself.

    Raises:
        ArgumentTypeError: It is no kernel.
        ConflictingOptionsError: It is approximate on purpose, or knows by itself what
            the claim says.
    """
    if isinstance(kernel_or_plan, Plan | TreePlan):
        return _of_plan(kernel_or_plan, kernel_or_plan.compile(), claim)
    if isinstance(kernel_or_plan, Kernel | TreeKernel):
        return _of_plan(kernel_or_plan.plan, kernel_or_plan, claim)
    if isinstance(kernel_or_plan, Export):
        return _of_export(kernel_or_plan, f, params, x, claim)
    if not callable(kernel_or_plan):
        raise ArgumentTypeError(
            name="kernel_or_plan",
            value=kernel_or_plan,
            wanted="a plan, an export, or a function kernel(params, x1, x2=None)",
            hint="Of a saved file that was imported pass module.kernel",
        )
    return CheckedKernel(
        function=kernel_or_plan,
        specs=_claimed_specs(f, params, x, claim),
        batch_axis=claim.batch_axis,
    )


def _of_plan(
    plan: Plan | TreePlan, function: Kernel | TreeKernel, claim: Claim
) -> CheckedKernel:
    _refuse_known(claim.given(), "the plan")
    if isinstance(plan, TreePlan):
        specs = {path: output.spec for path, output in plan.outputs.items()}
    else:
        _require_exact(plan)
        specs = {"": plan.spec}
    return CheckedKernel(
        function=function, specs=specs, batch_axis=plan.signature.batch_axis
    )


def _of_export(
    export: Export, f: Callable[..., Any], params: Any, x: Any, claim: Claim
) -> CheckedKernel:
    """Of an export: it knows its pairs and its batch axis, but not its output axes."""
    known = {"pairs", "batch_axis"}
    _refuse_known([name for name in claim.given() if name in known], "the export")
    claim = dataclasses.replace(
        claim,
        pairs="matched" if export.matched else "all",
        batch_axis=export.batch_axis,
    )
    sizes = export.alone.sizes
    least = sizes.n1 or 1
    return CheckedKernel(
        function=export,
        specs=_claimed_specs(f, params, x, claim),
        batch_axis=export.batch_axis,
        n_examples=least if sizes.fixed else max(least, N_EXAMPLES),
    )


def _claimed_specs(
    f: Callable[..., Any], params: Any, x: Any, claim: Claim
) -> dict[str, KernelSpec]:
    """Says of every output of `f` what the kernel is claimed to be of."""
    returned = output_shapes(f, params, x, batch_axis=claim.batch_axis)
    whole_batch = claim.batch_axis is None
    return {
        path: kernel_spec(
            kernel=claim.kernel or "full",
            trace_axes=claim.trace_axes,
            diagonal_axes=claim.diagonal_axes,
            pairs=claim.pairs or "all",
            output_shape=tuple(spec.shape if whole_batch else spec.shape[1:]),
            whole_batch=whole_batch,
            output=path,
        )
        for path, spec in output_arrays(returned).items()
    }


def _refuse_known(names: list[str], who: str) -> None:
    if names:
        listed = " and ".join(f"{name}=" for name in names)
        raise ConflictingOptionsError(
            what=f"check was given {listed}, which {who} knows by itself",
            hint=f"Leave {listed} out: it is for kernels that are plain functions",
        )


def _require_exact(plan: Plan) -> None:
    """Refuses to check what is approximate on purpose."""
    if plan.approximation is not None and plan.approximation.paths:
        raise ConflictingOptionsError(
            what="check compares with the exact kernel, and this one was planned with "
            f"tolerance={plan.approximation.tolerance:g}",
            hint="Plan without tolerance=; plan.approximation has the error found",
        )
