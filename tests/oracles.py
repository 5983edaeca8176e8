"""Kernels the obvious way: a dense float64 Jacobian and numpy. Nothing of ntkplan.

Every kernel of a model is an einsum of the same Jacobian, `[n, *out_axes, P]`, so
that tests of many kernels compute it once.
"""

from __future__ import annotations

import contextlib
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KERNELS = ("full", "trace", "diagonal", "sum_of_logits")


def x64() -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which JAX computes in float64 where it is asked to."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    # The older name of the same context, gone from the newest JAX.
    from jax.experimental import enable_x64

    return enable_x64()


def cast_floats(tree: Any, dtype: Any) -> Any:
    """Returns the tree as numpy arrays, the floating-point ones cast to `dtype`."""

    def cast(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype"):
            leaf = np.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf  # typed random keys have no numpy form
        array = np.asarray(leaf)
        return (
            array.astype(dtype) if jnp.issubdtype(array.dtype, np.floating) else array
        )

    return jax.tree.map(cast, tree)


def path_name(path: Sequence[Any]) -> str:
    """Returns `blocks/0/w` for the key path of a leaf."""
    parts = []
    for key in path:
        for field in ("key", "idx", "name"):
            if hasattr(key, field):
                parts.append(str(getattr(key, field)))
                break
        else:
            parts.append(str(key))
    return "/".join(parts)


def leaf_names(params: Any) -> list[str]:
    """Returns the names of the leaves in the order in which JAX flattens them."""
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def dense_jacobians(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    wrt: Callable[[str, Any], bool] | None = None,
) -> dict[str, np.ndarray]:
    """Differentiates the whole batch at once with `jax.jacrev`, in float64.

    Args:
        f: The model, `f(params, x) -> [n, *out_axes]`.
        params: A pytree; leaves that are not floating point are held fixed.
        x: The examples; integers stay integers.
        wrt: Which leaves to differentiate; every floating-point one by default.

    Returns:
        `[n, *out_axes, size of the leaf]` for every differentiated leaf, by its name.
    """
    with x64():
        params, x = cast_floats(params, np.float64), cast_floats(x, np.float64)
        flat, tree = jax.tree.flatten(params)
        names = leaf_names(params)
        chosen = [
            index
            for index, (name, leaf) in enumerate(zip(names, flat, strict=True))
            if jnp.issubdtype(leaf.dtype, np.floating)
            and (wrt is None or wrt(name, leaf))
        ]

        def of_chosen(leaves: list[Any], x: Any) -> Any:
            every = list(flat)
            for index, leaf in zip(chosen, leaves, strict=True):
                every[index] = leaf
            return f(jax.tree.unflatten(tree, every), x)

        leaves = [flat[index] for index in chosen]
        jacobians = jax.jit(jax.jacrev(of_chosen))(leaves, x)
        found = {}
        for index, leaf, jacobian in zip(chosen, leaves, jacobians, strict=True):
            out_shape = jacobian.shape[: jacobian.ndim - leaf.ndim]
            found[names[index]] = np.asarray(jacobian).reshape(*out_shape, leaf.size)
        for name, jacobian in found.items():
            assert jacobian.dtype == np.float64, f"{name} was computed in float32"
        return found


def dense_jacobian(
    f: Callable[..., Any],
    params: Any,
    x: Any,
    wrt: Callable[[str, Any], bool] | None = None,
) -> np.ndarray:
    """Returns the Jacobians of all leaves side by side, `[n, *out_axes, P]`."""
    return np.concatenate(list(dense_jacobians(f, params, x, wrt).values()), axis=-1)


def kernel_of_jacobians(
    jacobian1: np.ndarray,
    jacobian2: np.ndarray,
    kernel: str | None = "full",
    trace_axes: Sequence[int] = (),
    diagonal_axes: Sequence[int] = (),
    pairs: str = "all",
) -> np.ndarray:
    """Contracts two dense Jacobians, `[n, *out_axes, P]`, to a kernel.

    Args:
        jacobian1: Of the examples `x1`.
        jacobian2: Of the examples `x2`.
        kernel: One of `KERNELS`; `full` where axes are given.
        trace_axes: Axes of the output, example axis counted, to average over.
        diagonal_axes: Axes of the output of which only the diagonal is wanted.
        pairs: `matched` for example i of `x1` against example i of `x2` only.

    Returns:
        `[n1, n2, ...]`, or `[n, ...]` for matched pairs.
    """
    ndim = jacobian1.ndim - 1
    every = tuple(range(1, ndim))
    if kernel == "sum_of_logits":
        n_outputs = int(np.prod(jacobian1.shape[1:-1]))
        jacobian1 = jacobian1.sum(axis=every) / np.sqrt(n_outputs)
        jacobian2 = jacobian2.sum(axis=every) / np.sqrt(n_outputs)
        ndim, every = 1, ()
    elif kernel == "trace":
        trace_axes = every
    elif kernel == "diagonal":
        diagonal_axes = every
    elif kernel not in ("full", None):
        raise ValueError(f"no kernel is called {kernel}")
    trace = {axis % ndim for axis in trace_axes}
    diagonal = {axis % ndim for axis in diagonal_axes}
    if pairs == "matched":
        diagonal.add(0)
    lower, upper = string.ascii_lowercase, string.ascii_uppercase
    right = "".join(
        lower[axis] if axis in trace | diagonal else upper[axis] for axis in range(ndim)
    )
    result = "".join(
        lower[axis] if axis in diagonal else lower[axis] + upper[axis]
        for axis in range(ndim)
        if axis not in trace
    )
    traced = np.prod([jacobian1.shape[axis] for axis in trace], initial=1.0)
    equation = f"{lower[:ndim]}z,{right}z->{result}"
    return np.einsum(equation, jacobian1, jacobian2, optimize=True) / traced


def dense_kernel(
    f: Callable[..., Any],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    kernel: str | None = "full",
    trace_axes: Sequence[int] = (),
    diagonal_axes: Sequence[int] = (),
    pairs: str = "all",
    wrt: Callable[[str, Any], bool] | None = None,
) -> np.ndarray:
    """Returns a kernel in float64; the arguments are those of `ntkplan.plan`.

    The whole batch is differentiated, so that it holds for examples that interact.
    """
    jacobian1 = dense_jacobian(f, params, x1, wrt)
    jacobian2 = jacobian1 if x2 is None else dense_jacobian(f, params, x2, wrt)
    return kernel_of_jacobians(
        jacobian1, jacobian2, kernel, trace_axes, diagonal_axes, pairs
    )


def relative_error(got: Any, wanted: Any) -> float:
    """Returns the largest absolute error over the largest absolute value wanted.

    Raises:
        AssertionError: The shapes differ; nothing is broadcast.
    """
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape, f"shape {got.shape}, wanted {wanted.shape}"
    if not np.all(np.isfinite(got)):
        return float("inf")
    return float(np.max(np.abs(got - wanted)) / np.max(np.abs(wanted)))
