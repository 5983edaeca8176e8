"""The public functions: they check arguments once and call the passes in order."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ntkplan._jax import is_traced
from ntkplan.cost.device import available_profiles, load_profile, profile_for
from ntkplan.cost.profile import DeviceProfile, Platform
from ntkplan.emit.lower import Choice, lower
from ntkplan.emit.source import print_module
from ntkplan.errors import OutputError
from ntkplan.ir.plan import LayerPlan
from ntkplan.ir.use import Layer
from ntkplan.methods import network
from ntkplan.options import (
    Axes,
    count_examples,
    kernel_spec,
    parse_bytes,
    parse_precision,
)
from ntkplan.planner.candidates import price
from ntkplan.planner.choose import Decision, choose
from ntkplan.planner.explain import (
    comments,
    device_line,
    idle_plan,
    layer_plans,
    table,
    totals,
)
from ntkplan.planner.request import parse_methods
from ntkplan.planner.shared import Problem, shared_work
from ntkplan.plans import (
    Kernel,
    Plan,
    Signature,
    Symbolic,
    check_same_count,
    check_tree,
)
from ntkplan.run.check import CheckResult, compare_with_dense
from ntkplan.trace.build import Predicate, build, shape_of, trace_body, tree_inputs
from ntkplan.trace.coverage import prove_covered
from ntkplan.trace.derivatives import check_differentiable
from ntkplan.trace.examples import Independent, check_examples
from ntkplan.trace.layers import find_layers

# How many examples the batch has in which the example axis is followed: a prime that
# hardly any other axis of a model is a multiple of.
_BATCH_TO_FOLLOW = 1009

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
) -> Plan:
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
        The plan. `print` it, `compile` it, `save` it.

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
    limit_bytes = _memory_limit(memory_limit, profile)
    signature = _signature(params, x1, x2, batch_axis)
    graph = build(f, params, x1, batch_axis=batch_axis, wrt=wrt)
    spec = kernel_spec(
        kernel=kernel,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        pairs=pairs,
        output_shape=graph.output.shape,
        whole_batch=batch_axis is None,
    )
    if spec.matched and x2 is not None and batch_axis is not None:
        check_same_count(x1, x2, batch_axis)
    check_differentiable(graph)
    if batch_axis is not None:
        _check_independent(f, params, x1, batch_axis)
    layers = find_layers(graph)
    prove_covered(graph, layers)
    active = _active_layers(layers)
    request = parse_methods(methods, [leaf.path for leaf in graph.leaves])
    problem = Problem(
        graph=graph,
        spec=spec,
        n1=n1,
        n2=n1 if n2 is None else n2,
        symmetric=x2 is None,
        profile=profile,
        dtype=active[0].leaf.dtype,
        precision=_precision(precision, profile),
    )
    frame = network.frame(spec)
    priced = price(active, frame, problem, request)
    decision = choose(problem, active, priced, limit_bytes)
    records = layer_plans(active, priced, decision, request, limit_bytes)
    return _assemble(
        f, problem, frame, layers, active, records, decision, signature, n2
    )


def ntk(
    f: Callable[..., Any], params: Any, x1: Any, x2: Any = None, **options: Any
) -> jax.Array:
    """Plans, compiles and computes a kernel: `plan(...).compile()(params, x1, x2)`.

    Args:
        f: The model.
        params: Its parameters.
        x1: Examples.
        x2: Other examples, or None.
        **options: As for `plan`.

    Returns:
        The kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> ntk(lambda w, x: x @ w, jnp.ones((2, 1)), jnp.eye(2))[:, :, 0, 0].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return plan(f, params, x1, x2, **options).compile()(params, x1, x2)


def check(
    kernel_or_plan: Kernel | Plan,
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
        The error found.

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
        kernel_or_plan.compile() if isinstance(kernel_or_plan, Plan) else kernel_or_plan
    )
    return compare_with_dense(
        kernel,
        kernel.plan.spec,
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


def _signature(params: Any, x1: Any, x2: Any, batch_axis: int | None) -> Signature:
    signature = Signature(
        params=jax.tree.map(shape_of, params),
        x=jax.tree.map(shape_of, x1),
        batch_axis=batch_axis,
    )
    if x2 is not None:
        other = jax.tree.map(shape_of, x2)
        check_tree("x2", other, signature.x, batch_axis=batch_axis)
    return signature


def _check_independent(
    f: Callable[..., Any], params: Any, x: Any, batch_axis: int
) -> None:
    """Refuses models whose examples interact; tests numerically what is unproven."""
    body, output = trace_body(
        f, params, x, batch_axis=batch_axis, length=_BATCH_TO_FOLLOW
    )
    shape = jax.tree.leaves(output)[0].shape
    if not shape or shape[0] != _BATCH_TO_FOLLOW:
        raise OutputError(
            why=f"for {_BATCH_TO_FOLLOW} examples f returns the shape {list(shape)}, "
            "whose first axis does not count examples",
            hint="return the example axis first",
        )
    leaves, x_leaves = jax.tree.leaves(params), jax.tree.leaves(x)
    structure = jax.tree.structure((params, x))
    arguments = [*leaves, *x_leaves]
    concrete = not any(
        isinstance(item, jax.ShapeDtypeStruct) or is_traced(item) for item in arguments
    )

    def flat(*arrays: Any) -> Any:
        return f(*jax.tree.unflatten(structure, arrays))

    verdict = check_examples(
        body,
        data_inputs=range(len(leaves), len(arguments)),
        batch_axis=batch_axis,
        n_examples=_BATCH_TO_FOLLOW,
        function=flat if concrete else None,
        arguments=arguments if concrete else None,
        stacklevel=4,
    )
    if isinstance(verdict, Independent) and (
        verdict.merged_outputs or verdict.output_axes[0] not in (0, None)
    ):
        raise OutputError(
            why="the first axis of what f returns does not count examples alone",
            hint="return the example axis first, on its own",
        )


def _active_layers(layers: Sequence[Layer]) -> list[Layer]:
    active = [layer for layer in layers if not layer.idle]
    if not active:
        raise OutputError(
            why="it depends on no leaf that is differentiated: the kernel is zero",
            hint="check that f uses its first argument, and what wrt= leaves in",
        )
    return active


def _assemble(
    f: Callable[..., Any],
    problem: Problem,
    frame: network.Frame,
    layers: Sequence[Layer],
    active: Sequence[Layer],
    records: Sequence[LayerPlan],
    decision: Decision,
    signature: Signature,
    n2: int | None,
) -> Plan:
    by_path = {record.path: record for record in records}
    all_records = tuple(
        by_path.get(layer.leaf.path) or idle_plan(layer) for layer in layers
    )
    headline = _headline(f, problem, n2)
    notes = [*totals(decision.cost), device_line(problem.profile)]
    program = lower(
        problem.graph,
        [
            Choice(layer=layer, candidate=item.candidate, comments=comments(record))
            for layer, item, record in zip(
                active, decision.chosen, records, strict=True
            )
        ],
        frame,
        batch_axis=signature.batch_axis,
        data_access=tuple(item.access for item in tree_inputs(signature.x)),
        precision=problem.precision,
        title=f"{headline}.",
        notes=tuple(f"{note}." for note in notes),
    )
    return Plan(
        layers=all_records,
        cost=decision.cost,
        device=problem.profile,
        spec=problem.spec,
        n1=problem.n1,
        n2=n2,
        signature=signature,
        module=print_module(program),
        text=table(all_records, decision.cost, problem.profile, headline, []),
        symbolic_work=functools.partial(_symbolic, problem, active, decision),
    )


def _headline(f: Callable[..., Any], problem: Problem, n2: int | None) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    name = "a lambda" if name == "<lambda>" else f"`{name}`"
    other = "x2 absent" if n2 is None else f"n2={n2}"
    counts = (
        "" if problem.spec.whole_batch else f", planned for n1={problem.n1}, {other}"
    )
    kind = problem.spec.name.replace("axes", "partial").replace("_", " ")
    return (
        f"The {kind} neural tangent kernel of {name}, {problem.spec.describe()}{counts}"
    )


def _symbolic(
    problem: Problem, layers: Sequence[Layer], decision: Decision
) -> Symbolic:
    """Writes the chosen candidates' work in symbols."""
    tapped = [
        layer
        for layer, item in zip(layers, decision.chosen, strict=True)
        if not item.pushed
    ]
    pushed = [
        layer
        for layer, item in zip(layers, decision.chosen, strict=True)
        if item.pushed
    ]
    shared = shared_work(problem, tapped, pushed, symbolic=True)
    return Symbolic(
        layers={
            layer.leaf.path: (
                item.candidate.symmetric_work
                if problem.symmetric
                else item.candidate.work
            )
            for layer, item in zip(layers, decision.chosen, strict=True)
        },
        forward=shared.forward,
        sweep=shared.sweep,
        push=shared.push,
    )
