"""The public functions: they check arguments once and call the passes in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from ntkplan.approximation.probes import Probes, choose_probes
from ntkplan.arguments import (
    parse_batch_axis,
    require_arrays,
    require_function,
    require_methods,
    require_predicate,
)
from ntkplan.call_text import call_text
from ntkplan.checked_kernel import Claim, checked_kernel
from ntkplan.cost.device import available_profiles
from ntkplan.cost.profile import DeviceProfile
from ntkplan.device_options import (
    Device,
    memory_limit_bytes,
    precision_on,
    profile_of,
)
from ntkplan.errors import ConflictingOptionsError
from ntkplan.ir.kernel import KernelSpec
from ntkplan.options import (
    Axes,
    count_examples,
    kernel_spec,
    parse_tolerance,
    parse_tune,
)
from ntkplan.output_plans import Task, TuningTask, plan_output
from ntkplan.planner.request import parse_methods
from ntkplan.plans import Kernel, Plan
from ntkplan.run.check import CheckResult, compare_with_dense
from ntkplan.signature import Signature, check_examples_tree, check_same_count
from ntkplan.trace.batch import check_independent
from ntkplan.trace.build import Model, build
from ntkplan.trace.derivatives import check_differentiable
from ntkplan.trace.leaves import Predicate, shape_of, tree_inputs
from ntkplan.tree_plans import TreeKernel, TreePlan, kernel_bytes, plan_tree
from ntkplan.tuning.machine import require_present

Methods = str | Sequence[str] | Mapping[str, str] | None


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
    tune: bool | float = False,
    tolerance: float | None = None,
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
        device: A device profile, its name or file, or a `jax.Device`; None for where
            JAX runs.
        memory_limit: Bytes, or text such as `8GiB` (`8Gi`, 1024s) or `8GB` (`8G`,
            1000s); None for what the device has, less a margin: the device that is
            present, or the profile that `device` names.
        precision: `jax.lax.Precision`, or its name, of every product: of the kernel and
            of the model in it, but where the model sets one itself. None: `highest` on
            GPUs and TPUs, since small eigenvalues survive neither TF32 nor bfloat16
            passes; CPUs have one precision.
        methods: Names of the methods allowed, or patterns of paths, each with the name
            of the method that is forced on the leaves it fits.
        tune: Whether to time the best candidates of each distinct layer and the best
            whole kernels, on the device that is present, instead of trusting the
            model: True for at most 20 s, or a number of seconds, compilation included.
            Timings are kept in the user's cache; what was timed once is not again.
        tolerance: Relative error up to which sum of logits may stand in for leaves, or
            for all but the readout. It is compared with the exact kernel on a few
            examples of `x1`, in the Frobenius norm. None: all is exact.

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
    require_function("f", f, "a function f(params, x)")
    require_arrays("params", params)
    require_predicate(wrt)
    require_methods(methods)
    batch_axis = parse_batch_axis(batch_axis)
    n1 = count_examples("x1", x1, batch_axis)
    n2 = None if x2 is None else count_examples("x2", x2, batch_axis)
    profile = profile_of(device)
    budget_s = _budget_s(tune, tolerance, None if device is None else profile)
    options = {
        "kernel": kernel,
        "trace_axes": trace_axes,
        "diagonal_axes": diagonal_axes,
        "pairs": pairs,
        "wrt": wrt,
        "batch_axis": batch_axis,
        "device": profile if isinstance(device, jax.Device) else device,
        "memory_limit": memory_limit,
        "precision": precision,
        "methods": methods,
        "tune": tune,
        "tolerance": tolerance,
    }
    call = call_text(f, x2, options, plan.__kwdefaults__ or {})
    signature = _signature(params, x1, x2, batch_axis, call)
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
    _check_model(model, f, params, x1, batch_axis)
    task = Task(
        subject=_name(f),
        signature=signature,
        n1=n1,
        n2=n2,
        profile=profile,
        limit_bytes=memory_limit_bytes(memory_limit, device, profile),
        precision=precision_on(profile, precision),
        request=parse_methods(methods, [item.path for item in tree_inputs(params)]),
        probing=_probing(tolerance, specs.values(), params, x1, batch_axis, n1),
        tuning=_tuning(budget_s, len(model.graphs), params, (x1, x2), batch_axis),
    )
    return _plan_outputs(task, model, specs)


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
    kernel_or_plan: Kernel | Plan | TreeKernel | TreePlan | Callable[..., Any],
    f: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    wrt: Predicate | None = None,
    kernel: str | None = None,
    trace_axes: Axes = None,
    diagonal_axes: Axes = None,
    pairs: str | None = None,
    batch_axis: int | None = 0,
) -> CheckResult:
    """Compares a kernel with the dense float64 Jacobian's on a few examples.

    A plan and its compiled kernel know what they are of. Of a function, such as the
    `kernel` of a saved file, `kernel=` and the other options of `plan` say it; of an
    export `kernel=` and the axes do.

    Args:
        kernel_or_plan: What `plan`, `plan(...).compile()`, `plan(...).export()` or
            `load_export` returned, or any function `kernel(params, x1, x2=None)`.
        f: The model.
        params: Its parameters.
        x: Examples.
        wrt: What the plan was given.
        kernel: As for `plan`; None is `full`, where the kernel does not know.
        trace_axes: As for `plan`.
        diagonal_axes: As for `plan`.
        pairs: As for `plan`; None is `all`, where the kernel does not know.
        batch_axis: As for `plan`, where the kernel does not know.

    Returns:
        The error found; for a tree of outputs that of the worst.

    Raises:
        InaccurateKernelError: It is more than rounding.
        MismatchedInputsError: The kernel has not the shape of what it should be.
        ConflictingOptionsError: An option says what the kernel knows by itself.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda w, x: jnp.tanh(x @ w)
        >>> w, x = jnp.ones((3, 2)), jnp.eye(3)
        >>> check(plan(f, w, x), f, w, x).n_examples
        3
        >>> def linear(w, x1, x2=None):
        ...     x2 = x1 if x2 is None else x2
        ...     return x1 @ x2.T
        >>> check(linear, lambda w, x: x @ w, w, x, kernel="trace").relative_error
        0.0
    """
    claim = Claim(
        kernel=kernel,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        pairs=pairs,
        batch_axis=batch_axis,
    )
    require_function("f", f, "a function f(params, x)")
    require_predicate(wrt)
    for name, tree in (("params", params), ("x", x)):
        require_arrays(name, tree)
    checked = checked_kernel(kernel_or_plan, f, params, x, claim)
    return compare_with_dense(
        checked.function,
        checked.specs,
        f,
        params,
        x,
        batch_axis=checked.batch_axis,
        wrt=wrt,
        n_examples=checked.n_examples,
    )


def devices() -> tuple[DeviceProfile, ...]:
    """Returns the device profiles that there are, with their provenance.

    Example:
        >>> "nvidia_h100" in [profile.name for profile in devices()]
        True
    """
    return available_profiles()


def _budget_s(
    tune: bool | float, tolerance: float | None, asked_for: DeviceProfile | None
) -> float | None:
    """Returns the seconds for measuring, or None; the device has to be present."""
    budget_s = parse_tune(tune)
    if parse_tolerance(tolerance) is not None and budget_s is not None:
        raise ConflictingOptionsError(
            what="tune= and tolerance= were both given",
            hint="Give one of them: a stand-in is compared at estimated times",
        )
    if budget_s is not None and asked_for is not None:
        require_present(asked_for)
    return budget_s


def _plan_outputs(
    task: Task, model: Model, specs: Mapping[str, KernelSpec]
) -> Plan | TreePlan:
    """Plans every output of a model."""
    if not model.is_tree:
        return plan_output(task, "", model.graphs[""], specs[""], task.limit_bytes)

    def plan_at(n1: int, n2: int | None) -> TreePlan:
        resized = dataclasses.replace(task, n1=n1, n2=n2)
        return plan_tree(
            {
                path: kernel_bytes(
                    spec, model.graphs[path].output.dtype, n1, resized.n2_run
                )
                for path, spec in specs.items()
            },
            lambda path, limit_bytes: plan_output(
                resized, path, model.graphs[path], specs[path], limit_bytes
            ),
            structure=model.structure,
            subject=task.subject,
            limit_bytes=task.limit_bytes,
            plan_at=plan_at,
        )

    return plan_at(task.n1, task.n2)


def _kernel_specs(model: Model, **options: Any) -> dict[str, KernelSpec]:
    """Says of every output what becomes of its axes, by the output's path."""
    return {
        path: kernel_spec(output_shape=graph.output.shape, output=path, **options)
        for path, graph in model.graphs.items()
    }


def _check_model(
    model: Model,
    f: Callable[..., Any],
    params: Any,
    x1: Any,
    batch_axis: int | None,
) -> None:
    """Checks that a model can be differentiated, and that its examples are apart."""
    for graph in model.graphs.values():
        check_differentiable(graph)
    if batch_axis is not None:
        # What it warns of is in the call of `plan`.
        check_independent(f, params, x1, batch_axis, single=model.body, stacklevel=4)


def _tuning(
    budget_s: float | None,
    n_outputs: int,
    params: Any,
    x: tuple[Any, Any],
    batch_axis: int | None,
) -> TuningTask | None:
    """Divides the seconds for measuring among the outputs, if there are any."""
    if budget_s is None:
        return None
    return TuningTask(
        budget_s=budget_s / n_outputs, params=params, x=x, batch_axis=batch_axis
    )


def _probing(
    tolerance: float | None,
    specs: Iterable[KernelSpec],
    params: Any,
    x1: Any,
    batch_axis: int | None,
    n1: int,
) -> tuple[float, Probes] | None:
    """Checks the tolerance, if there is one, and chooses where it is compared."""
    if tolerance is None:
        return None
    for spec in specs:
        parse_tolerance(tolerance, spec)
    return tolerance, choose_probes(params, x1, batch_axis or 0, n1)


def _name(f: Callable[..., Any]) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "a lambda" if name == "<lambda>" else f"`{name}`"


def _signature(
    params: Any, x1: Any, x2: Any, batch_axis: int | None, call: str
) -> Signature:
    signature = Signature(
        params=jax.tree.map(shape_of, params),
        x=jax.tree.map(shape_of, x1),
        batch_axis=batch_axis,
        call=call,
    )
    if x2 is not None:
        other = jax.tree.map(shape_of, x2)
        check_examples_tree("x2", other, signature.x, batch_axis=batch_axis)
    return signature
