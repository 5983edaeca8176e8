"""A kernel against the dense Jacobian, in float64, by plain JAX."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy

from ntkplan._jax import Primitive, enable_x64, sub_jaxprs
from ntkplan.errors import InaccurateKernelError, MismatchedInputsError
from ntkplan.ir.kernel import KernelSpec
from ntkplan.trace.build import trace_body
from ntkplan.trace.leaves import asked, tree_inputs

N_EXAMPLES = 4
"""Examples that are compared, where nothing else is asked for."""

# Largest relative error for each data type: 2e-5 is what float32 is held to.
_LIMITS = {"float64": 1e-12, "float32": 2e-5}
_LOOSEST = 5e-2

_OTHER_KERNEL = (
    "Pass the f, params and wrt= that were planned for; of a kernel that is a plain "
    "function say with kernel=, trace_axes=, diagonal_axes=, pairs= and batch_axis= "
    "what it is of"
)

# Primitives that draw random numbers, by name: not every JAX has all of them.
_RANDOM = frozenset({"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult:
    """How far a kernel is from the dense one.

    Attributes:
        relative_error: Largest absolute difference over the largest absolute entry.
        limit: What would have been an error.
        n_examples: Examples that were compared.
        output: Path of the output whose kernel is the farthest off, where the model
            returns a tree.
    """

    relative_error: float
    limit: float
    n_examples: int
    output: str = ""


def compare_with_dense(
    kernel: Callable[..., Any],
    specs: Mapping[str, KernelSpec],
    f: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    batch_axis: int | None,
    wrt: Callable[[str, Any], bool] | None = None,
    n_examples: int = N_EXAMPLES,
) -> CheckResult:
    """Compares a kernel with the dense Jacobian's on a few examples.

    Args:
        kernel: `kernel(params, x1)`, an array or a tree of arrays.
        specs: What each array is of, by the output's path, in the order of the tree.
        f: The model, `f(params, x)`.
        params: Its parameters.
        x: Examples; the first few are used.
        batch_axis: The example axis of every array of `x`, or None.
        wrt: Which leaves are differentiated, by path and value.
        n_examples: How many examples to use.

    Returns:
        The error found; that of the output that is the farthest off.

    Raises:
        InaccurateKernelError: It is more than rounding.
        MismatchedInputsError: The kernel has another shape.
    """
    few = x
    if batch_axis is not None:
        few = jax.tree.map(
            lambda array: jax.numpy.take(
                array,
                numpy.arange(min(n_examples, array.shape[batch_axis])),
                axis=batch_axis,
                mode="clip",
            ),
            x,
        )
    kernels = jax.tree.leaves(kernel(params, few))
    if len(kernels) != len(specs):
        raise MismatchedInputsError(
            what="the arrays that the kernel returns",
            got=len(kernels),
            wanted=f"{len(specs)}, one for each that f returns",
            hint=_OTHER_KERNEL,
        )
    wanted = dense_kernels(f, params, few, list(specs.values()), wrt)
    results = [
        _compared(path, numpy.asarray(got), dense)
        for path, got, dense in zip(specs, kernels, wanted, strict=True)
    ]
    return max(results, key=lambda result: result.relative_error / result.limit)


def _compared(path: str, got: numpy.ndarray, wanted: numpy.ndarray) -> CheckResult:
    if got.shape != wanted.shape:
        raise MismatchedInputsError(
            what=f"the shape of the kernel{f' of output {path}' * bool(path)}",
            got=list(got.shape),
            wanted=list(wanted.shape),
            hint=_OTHER_KERNEL,
        )
    scale = numpy.abs(wanted).max()
    difference = numpy.abs(got.astype(numpy.float64) - wanted).max()
    error = float(difference / scale) if scale else float(difference)
    limit = _LIMITS.get(str(got.dtype), _LOOSEST)
    if not error <= limit:
        raise InaccurateKernelError(error=error, limit=limit, output=path)
    return CheckResult(
        relative_error=error, limit=limit, n_examples=wanted.shape[0], output=path
    )


def dense_kernels(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    specs: Sequence[KernelSpec],
    wrt: Callable[[str, Any], bool] | None,
) -> list[numpy.ndarray]:
    """Computes kernels from the whole Jacobians in float64, with `jax.jacrev`.

    A model that draws random numbers keeps its own precision: in another one it draws
    others, and is another model.

    Returns:
        The kernel of every array that `f` returns, each in the layout of its spec.
    """
    widen = not _draws_random_numbers(f, params, x)
    with enable_x64() if widen else contextlib.nullcontext():
        if widen:
            params, x = jax.tree.map(_widened, (params, x))
        leaves, structure = jax.tree.flatten(jax.tree.map(jax.numpy.asarray, params))
        chosen = _chosen(params, wrt)

        def of_chosen(values: list[Any]) -> list[Any]:
            every = list(leaves)
            for number, value in zip(chosen, values, strict=True):
                every[number] = value
            return jax.tree.leaves(f(jax.tree.unflatten(structure, every), x))

        by_output = jax.jacrev(of_chosen)([leaves[number] for number in chosen])
        sizes = [leaves[number].size for number in chosen]
        return [
            _reduced(_side_by_side(jacobians, sizes, spec), spec)
            for jacobians, spec in zip(by_output, specs, strict=True)
        ]


def _side_by_side(
    jacobians: Sequence[Any], sizes: Sequence[int], spec: KernelSpec
) -> numpy.ndarray:
    """Joins the Jacobians of all leaves to `[n, *outputs, parameters]`."""
    lead = (jacobians[0].shape[0], *_output_shape(spec))
    flat = [
        numpy.asarray(jacobian, "float64").reshape(*lead, size)
        for jacobian, size in zip(jacobians, sizes, strict=True)
    ]
    return numpy.concatenate(flat, axis=-1)


def _draws_random_numbers(f: Callable[..., Any], params: Any, x: Any) -> bool:
    body, _ = trace_body(f, params, x, batch_axis=None, length=1)
    return any(
        _is_random(equation.primitive, equation.parameters)
        for equation in body.equations
    )


def _is_random(primitive: Primitive, parameters: dict[str, Any]) -> bool:
    return primitive.name in _RANDOM or any(
        _is_random(equation.primitive, equation.params)
        for _, inner in sub_jaxprs(parameters)
        for equation in inner.jaxpr.eqns
    )


def _output_shape(spec: KernelSpec) -> tuple[int, ...]:
    return spec.output_shape[1:] if spec.whole_batch else spec.output_shape


def _chosen(params: Any, wrt: Callable[[str, Any], bool] | None) -> list[int]:
    return [
        number
        for number, leaf in enumerate(tree_inputs(params))
        if wrt is None or asked(wrt, leaf)
    ]


def _widened(array: Any) -> Any:
    """Returns an array with its floats in float64."""
    array = jax.numpy.asarray(array)
    if jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
        return array.astype("float64")
    return array


def _reduced(jacobian: numpy.ndarray, spec: KernelSpec) -> numpy.ndarray:
    """Contracts `[n, *outputs, parameters]` with itself into the kernel's layout."""
    offset = 0 if spec.whole_batch else 1
    rank = jacobian.ndim - 1
    if spec.sums_logits:
        n_outputs = numpy.prod(jacobian.shape[1:-1])
        summed = jacobian.sum(axis=tuple(range(1, rank))) / numpy.sqrt(n_outputs)
        subscripts = "np,np->n" if spec.matched else "np,mp->nm"
        return numpy.einsum(subscripts, summed, summed)
    first = ["n", *(chr(ord("a") + axis) for axis in range(rank - 1))]
    second, result = list(first), []
    scale = 1.0
    for axis in range(rank):
        group = axis - offset
        if axis == 0 and not spec.whole_batch:
            if not spec.matched:
                second[0] = "m"
            result += ["n"] if spec.matched else ["n", "m"]
        elif group in spec.full_axes:
            second[axis] = first[axis].upper()
            result += [first[axis], second[axis]]
        elif group in spec.diagonal_axes:
            result.append(first[axis])
        else:
            scale /= jacobian.shape[axis]
    subscripts = f"{''.join(first)}z,{''.join(second)}z->{''.join(result)}"
    return scale * numpy.einsum(subscripts, jacobian, jacobian, optimize=True)
