"""The public functions: they check arguments once and call the passes in order."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ntkplan.assembly import assemble
from ntkplan.cost.device import available_profiles, load_profile, profile_for
from ntkplan.cost.profile import DeviceProfile, Platform
from ntkplan.cut_plans import assemble_cut
from ntkplan.errors import OutputError
from ntkplan.ir.graph import KernelGraph
from ntkplan.ir.kernel import KernelSpec
from ntkplan.ir.use import Layer
from ntkplan.options import (
    Axes,
    count_examples,
    kernel_spec,
    parse_bytes,
    parse_precision,
)
from ntkplan.planner.cuts import CutChosen, choose_best, find_cuts
from ntkplan.planner.problem import Problem
from ntkplan.planner.request import MethodRequest, parse_methods
from ntkplan.planner.study import Study
from ntkplan.plans import (
    Kernel,
    Plan,
    Signature,
    check_examples_tree,
    check_same_count,
)
from ntkplan.run.check import CheckResult, compare_with_dense
from ntkplan.trace.batch import check_independent
from ntkplan.trace.build import Model, build
from ntkplan.trace.coverage import prove_covered
from ntkplan.trace.derivatives import check_differentiable
from ntkplan.trace.layers import find_layers
from ntkplan.trace.leaves import Predicate, shape_of, tree_inputs
from ntkplan.tree_plans import TreeKernel, TreePlan, kernel_bytes, plan_tree

Methods = str | Sequence[str] | Mapping[str, str] | None
Device = str | os.PathLike[str] | DeviceProfile | None


def plan(
    f: Callable[..., Any],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    kernel: str = "full",
    trace_axes: Axes = None,
    diagonal_axes: Axes = None,
    pairs: str = "all",
    wrt: Predicate | None = None,
    batch_axis: int | None = 0,
    device: Device = None,
    memory_limit: int | float | str | None = None,
    precision: Any = None,
    methods: Methods = None,
) -> Plan | TreePlan:
    """Plans the empirical neural tangent kernel of a model.

    Args:
        f: The model, `f(params, x)`, with an example axis on its input and, first, on
            its output. Close over everything else: rng keys, flags, frozen arrays.
        params: A tree of arrays or of `jax.ShapeDtypeStruct`.
        x1: Examples: an array or a tree of arrays, or of `jax.ShapeDtypeStruct`.
        x2: Other examples, or None for the kernel of `x1` with itself.
        kernel: `full` `[n1, n2, o, o]`, `trace` `[n1, n2]`, `diagonal` `[n1, n2, o]` or
            `sum_of_logits` `[n1, n2]`.
        trace_axes: Output axes to average over, both members of the pair equal; counted
            with the example axis. Not together with `kernel`.
        diagonal_axes: Output axes that stand once. Not together with `kernel`.
        pairs: `all`, or `matched` for example i of `x1` with example i of `x2` only.
        wrt: Says of a leaf, by path and value, whether to differentiate by it.
        batch_axis: The example axis of every array of `x1`; None where examples
            interact, for the kernel of the batch as a whole.
        device: A device profile, its name or file; None for where JAX runs.
        memory_limit: Bytes, or text such as `8GiB`; None for what the device has.
        precision: `jax.lax.Precision` of every contraction of the kernel.
        methods: Names of the methods allowed, or patterns of paths, each with the name
            of the method that is forced on the leaves it fits.

    Returns:
        The plan. `print` it, `compile` it, `save` it. Where `f` returns a tree of
        arrays it is a `TreePlan`, whose kernel returns the same tree with the kernel of
        each array in its place; `kernel` and the axes are meant for every array.

    Raises:
        NtkPlanError: Something is wrong with the input; the message says what to do.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda params, x: jnp.tanh(x @ params["w"]) @ params["v"]
        >>> params = {"w": jnp.ones((3, 5)), "v": jnp.ones((5, 2))}
        >>> kernel = plan(f, params, jnp.ones((4, 3))).compile()
        >>> kernel(params, jnp.ones((4, 3))).shape
        (4, 4, 2, 2)
    """
    n1 = count_examples("x1", x1, batch_axis)
    n2 = None if x2 is None else count_examples("x2", x2, batch_axis)
    profile = _profile(device)
    signature = _signature(params, x1, x2, batch_axis)
    model = build(f, params, x1, batch_axis=batch_axis, wrt=wrt)
    specs = _kernel_specs(
        model,
        kernel=kernel,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        pairs=pairs,
        whole_batch=batch_axis is None,
    )
    if pairs == "matched" and x2 is not None and batch_axis is not None:
        check_same_count(x1, x2, batch_axis)
    for graph in model.graphs.values():
        check_differentiable(graph)
    if batch_axis is not None:
        check_independent(f, params, x1, batch_axis, single=model.body, stacklevel=3)
    task = _Task(
        subject=_name(f),
        signature=signature,
        n1=n1,
        n2=n2,
        profile=profile,
        limit_bytes=_memory_limit(memory_limit, profile),
        precision=_precision(precision, profile),
        request=parse_methods(methods, [item.path for item in tree_inputs(params)]),
    )
    if not model.is_tree:
        return _plan_output(task, "", model.graphs[""], specs[""], task.limit_bytes)
    return plan_tree(
        {
            path: kernel_bytes(spec, model.graphs[path].output.dtype, n1, task.n2_run)
            for path, spec in specs.items()
        },
        lambda path, limit_bytes: _plan_output(
            task, path, model.graphs[path], specs[path], limit_bytes
        ),
        structure=model.structure,
        subject=task.subject,
        limit_bytes=task.limit_bytes,
    )


def ntk(
    f: Callable[..., Any], params: Any, x1: Any, x2: Any = None, **options: Any
) -> Any:
    """Plans, compiles and computes a kernel: `plan(...).compile()(params, x1, x2)`.

    Args:
        f: The model.
        params: Its parameters.
        x1: Examples.
        x2: Other examples, or None.
        **options: As for `plan`.

    Returns:
        The kernel, an array; or the tree of kernels, where `f` returns a tree.

    Example:
        >>> import jax.numpy as jnp
        >>> ntk(lambda w, x: x @ w, jnp.ones((2, 1)), jnp.eye(2))[:, :, 0, 0].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return plan(f, params, x1, x2, **options).compile()(params, x1, x2)


def check(
    kernel_or_plan: Kernel | Plan | TreeKernel | TreePlan,
    f: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    wrt: Predicate | None = None,
) -> CheckResult:
    """Compares a kernel with the dense float64 Jacobian's on a few examples.

    Args:
        kernel_or_plan: What `plan` or `plan(...).compile()` returned.
        f: The model.
        params: Its parameters.
        x: Examples.
        wrt: What the plan was given.

    Returns:
        The error found; for a tree of outputs that of the worst.

    Raises:
        InaccurateKernelError: It is more than rounding.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda w, x: jnp.tanh(x @ w)
        >>> w, x = jnp.ones((3, 2)), jnp.eye(3)
        >>> check(plan(f, w, x), f, w, x).n_examples
        3
    """
    kernel = (
        kernel_or_plan.compile()
        if isinstance(kernel_or_plan, Plan | TreePlan)
        else kernel_or_plan
    )
    if isinstance(kernel, TreeKernel):
        specs = {path: plan.spec for path, plan in kernel.plan.outputs.items()}
    else:
        specs = {"": kernel.plan.spec}
    return compare_with_dense(
        kernel,
        specs,
        f,
        params,
        x,
        batch_axis=kernel.plan.signature.batch_axis,
        wrt=wrt,
    )


def devices() -> tuple[DeviceProfile, ...]:
    """Returns the device profiles that there are, with their provenance.

    Example:
        >>> "nvidia_h100" in [profile.name for profile in devices()]
        True
    """
    return available_profiles()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
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
    """

    subject: str
    signature: Signature
    n1: int
    n2: int | None
    profile: DeviceProfile
    limit_bytes: float
    precision: str | None
    request: MethodRequest

    @property
    def n2_run(self) -> int:
        """Examples that `x2` stands for."""
        return self.n1 if self.n2 is None else self.n2


def _kernel_specs(model: Model, **options: Any) -> dict[str, KernelSpec]:
    """Says of every output what becomes of its axes, by the output's path."""
    return {
        path: kernel_spec(output_shape=graph.output.shape, output=path, **options)
        for path, graph in model.graphs.items()
    }


def _plan_output(
    task: _Task, path: str, graph: KernelGraph, spec: KernelSpec, limit_bytes: float
) -> Plan:
    """Plans one output: the passes from its graph to its source, in order."""
    layering = find_layers(graph)
    prove_covered(layering)
    study = Study(layering.graph, _active_layers(path, layering.layers), spec)
    cuts = find_cuts(graph, layering, study, task.request)
    subject = f"output {path} of {task.subject}" if path else task.subject

    def plan_at(n1: int, n2: int | None) -> Plan:
        problem = Problem(
            study=study,
            n1=n1,
            n2=n1 if n2 is None else n2,
            symmetric=n2 is None,
            profile=task.profile,
            precision=task.precision,
        )
        chosen = choose_best(problem, cuts, task.request, limit_bytes)
        parts: dict[str, Any] = {
            "subject": subject,
            "signature": task.signature,
            "n2": n2,
            "plan_at": plan_at,
        }
        if isinstance(chosen, CutChosen):
            return assemble_cut(chosen, layering, task.request, **parts)
        return assemble(chosen, layering, task.request, **parts)

    return plan_at(task.n1, task.n2)


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


def _profile(device: Device) -> DeviceProfile:
    if device is not None:
        return load_profile(device)
    running = jax.devices()[0]
    return profile_for(running.platform, running.device_kind)


def _memory_limit(limit: int | float | str | None, profile: DeviceProfile) -> float:
    if limit is not None:
        return parse_bytes(limit)
    memory = profile.memory
    return memory.usable_bytes * (1 - memory.scratch_margin_fraction)


def _precision(precision: Any, profile: DeviceProfile) -> str | None:
    """Is exact by default: small eigenvalues do not survive fast matrix units."""
    parsed = parse_precision(precision)
    if parsed is None and profile.platform is not Platform.CPU:
        return "highest"
    return parsed


def _name(f: Callable[..., Any]) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "a lambda" if name == "<lambda>" else f"`{name}`"


def _signature(params: Any, x1: Any, x2: Any, batch_axis: int | None) -> Signature:
    signature = Signature(
        params=jax.tree.map(shape_of, params),
        x=jax.tree.map(shape_of, x1),
        batch_axis=batch_axis,
    )
    if x2 is not None:
        other = jax.tree.map(shape_of, x2)
        check_examples_tree("x2", other, signature.x, batch_axis=batch_axis)
    return signature
