"""One kernel of a model computed one way, and what it is compared with."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import string
from typing import Any

import numpy as np

import ntkplan
from tests.generated.program import IMPORTS, Program, print_program
from tests.generated.scope import Scope
from tests.oracles import kernel_of_jacobians, x64

METHODS = (
    "jacobian_contraction",
    "structured_derivatives",
    None,
    "ntk_vector_products",
    "sum_of_logits",
)
KERNELS = ("full", "trace", "diagonal", "sum_of_logits", "axes")
TOLERANCE = 1e-10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Options of `ntkplan.plan`.

    Attributes:
        method: Forced on all leaves, or None for the planner's choice.
        kernel: Its name, or `axes` where the axes below say it.
        trace_axes: Axes of the output, its example axis counted.
        diagonal_axes: Likewise.
        pairs: `all` or `matched`.
        cross: Whether there is an `x2`.
    """

    method: str | None
    kernel: str
    trace_axes: tuple[int, ...] = ()
    diagonal_axes: tuple[int, ...] = ()
    pairs: str = "all"
    cross: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The keywords for `ntkplan.plan`, those at their default left out."""
        options: dict[str, Any] = {"methods": self.method, "pairs": self.pairs}
        if self.kernel == "axes":
            options["trace_axes"] = self.trace_axes
            options["diagonal_axes"] = self.diagonal_axes
        else:
            options["kernel"] = self.kernel
        default = {"methods": None, "pairs": "all", "kernel": "full"}
        return {
            key: options[key] for key in options if options[key] != default.get(key)
        }


KINDS = tuple(
    (method, kernel)
    for method, kernel in itertools.product(METHODS, KERNELS)
    if method != "sum_of_logits" or kernel == "sum_of_logits"
)


def draw_comparisons(
    scope: Scope, program: Program, count: int
) -> tuple[Comparison, ...]:
    """Draws different comparisons, as many as asked for."""
    allowed = [
        kind
        for kind in KINDS
        if program.forward_mode or kind[0] != "ntk_vector_products"
    ]
    if count >= len(allowed):
        return tuple(_comparison(scope, program, *kind) for kind in allowed)
    # A stride through the kinds gives other methods and other kernels each time.
    first, stride = scope.integer(0, len(allowed) - 1), scope.choose((4, 7, 1, 3))
    chosen = {(first + stride * number) % len(allowed): None for number in range(count)}
    return tuple(_comparison(scope, program, *allowed[place]) for place in chosen)


def _comparison(
    scope: Scope, program: Program, method: str | None, kernel: str
) -> Comparison:
    trace, diagonal = [], []
    if kernel == "axes":
        rank = 1 + len(program.output_shape)
        for axis in range(1, rank):
            where = scope.choose((None, trace, diagonal))
            if where is not None:
                where.append(axis - rank if scope.flag() else axis)
    return Comparison(
        method=method,
        kernel=kernel,
        trace_axes=tuple(trace),
        diagonal_axes=tuple(diagonal),
        pairs="matched" if scope.rarely(4) else "all",
        cross=scope.flag(),
    )


def rows(program: Program, comparison: Comparison) -> tuple[slice, slice]:
    """Returns which examples are `x1` and which are `x2`."""
    first = slice(0, program.n1)
    if not comparison.cross:
        return first, first
    n2 = program.n1 if comparison.pairs == "matched" else program.n2
    return first, slice(program.n1, program.n1 + n2)


def computed(
    namespace: dict[str, Any], program: Program, comparison: Comparison
) -> Any:
    """Returns ntkplan's kernel, in float64."""
    first, second = rows(program, comparison)
    x1 = _examples(namespace["x"], first)
    x2 = _examples(namespace["x"], second) if comparison.cross else None
    with x64():
        options = {"device": _device(), **comparison.options}
        plan = ntkplan.plan(namespace["f"], namespace["params"], x1, x2, **options)
        return np.asarray(plan.compile()(namespace["params"], x1, x2))


@functools.cache
def _device() -> Any:
    """Reads the profile once; which one it is does not matter here."""
    return next(device for device in ntkplan.devices() if device.name == "x86_64_cpu")


def _examples(x: Any, which: slice) -> Any:
    if isinstance(x, dict):
        return {name: array[which] for name, array in x.items()}
    return x[which]


def wanted(
    jacobian: np.ndarray, program: Program, comparison: Comparison
) -> tuple[np.ndarray, float]:
    """Returns the kernel of a dense Jacobian of all examples, and its scale.

    The scale is the largest value of the kernel, unless what it is the sum of cancels
    (the logits of a softmax add up to a constant, for one).
    """
    first, second = rows(program, comparison)
    options = {
        "kernel": None if comparison.kernel == "axes" else comparison.kernel,
        "trace_axes": comparison.trace_axes,
        "diagonal_axes": comparison.diagonal_axes,
        "pairs": comparison.pairs,
    }
    kernel = kernel_of_jacobians(jacobian[first], jacobian[second], **options)
    terms = np.abs(jacobian)
    terms = kernel_of_jacobians(terms[first], terms[second], **options)
    return kernel, max(np.max(np.abs(kernel)), 1e-3 * np.max(terms))


def print_script(program: Program, comparison: Comparison) -> str:
    """Returns a script to paste: the model, its kernel twice, and the error."""
    first, second = rows(program, comparison)
    both = program.x_shape is not None and program.n_tokens is not None
    cut = "jax.tree.map(lambda leaf: leaf[{}:{}], x)" if both else "x[{}:{}]"
    x1 = cut.format(first.start, first.stop)
    x2 = cut.format(second.start, second.stop) if comparison.cross else "None"
    options = "".join(f", {key}={value!r}" for key, value in comparison.options.items())
    equation, factor = _equation(program, comparison)
    lead = (*program.output_shape, -1)
    flat = f"leaf.reshape(len(leaf), {', '.join(map(str, lead))})"
    return f"""{IMPORTS}

{print_program(program)}

x1, x2 = {x1}, {x2}
plan = ntkplan.plan(f, params, x1, x2{options})
got = plan.compile()(params, x1, x2)


def jacobian(x):
    leaves = jax.tree.leaves(jax.jit(jax.jacrev(f))(params, x))
    return jnp.concatenate([{flat} for leaf in leaves], axis=-1)


j1 = jacobian(x1)
j2 = j1 if x2 is None else jacobian(x2)
wanted = {factor}jnp.einsum({equation!r}, j1, j2)
error = jnp.max(jnp.abs(got - wanted)) / jnp.max(jnp.abs(wanted))
print(plan)
print("relative error:", error)
"""


def _equation(program: Program, comparison: Comparison) -> tuple[str, str]:
    """Returns the einsum of two Jacobians, and the factor before it."""
    rank = 1 + len(program.output_shape)
    kernel, output = comparison.kernel, range(1, rank)
    trace = {axis % rank for axis in comparison.trace_axes}
    diagonal = {axis % rank for axis in comparison.diagonal_axes}
    if kernel == "trace":
        trace = set(output)
    if kernel == "diagonal":
        diagonal = set(output)
    if comparison.pairs == "matched":
        diagonal = diagonal | {0}
    left = string.ascii_lowercase[:rank]
    right, result, divisor = "", "", 1
    for axis, letter in enumerate(left):
        other = letter if axis in trace | diagonal else letter.upper()
        summed = axis in trace
        if kernel == "sum_of_logits" and axis:
            other, summed = letter.upper(), True
        right += other
        if summed:
            divisor *= program.output_shape[axis - 1]
        else:
            result += letter if other == letter else letter + other
    factor = f"1 / {divisor} * " if divisor > 1 else ""
    return f"{left}z,{right}z->{result}", factor
