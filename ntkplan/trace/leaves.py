"""Which arrays of `params` are differentiated, and which are refused."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy

from ntkplan._jax import Var
from ntkplan.arguments import verdict_of
from ntkplan.errors import (
    ComplexLeafError,
    NoLeavesError,
    NonFloatLeafError,
    RunningStatisticsError,
)
from ntkplan.ir.graph import Leaf

Predicate = Callable[[str, Any], bool]

# How libraries mark running statistics: the collection of Flax Linen, the variable
# type of Flax NNX, the moving averages of Haiku. They are floats, so that nothing but
# these names tells them from parameters.
_STATISTICS_PARTS = frozenset({"batch_stats", "mean_ema", "var_ema"})
_STATISTICS_TYPES = frozenset({"BatchStat"})

# From so many paths on, a hint does not list them.
_MOST_LISTED = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """One array of `params` or of `x`, by its place in the tree.

    Attributes:
        path: Its place, as `blocks/0/w_q`; empty where the tree is one array.
        access: Python text that reads it from the tree, or None.
        value: The array, or its shape and dtype.
    """

    path: str
    access: str | None
    value: Any


def tree_inputs(tree: Any) -> tuple[Input, ...]:
    """Returns the leaves of a tree with their paths, in the order of `jax.tree`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(
        Input(path=path_text(keys), access=_access(tree, keys, leaf), value=leaf)
        for keys, leaf in flat
    )


def path_text(keys: tuple[Any, ...]) -> str:
    """Returns a place in a tree as `blocks/0/w_q`."""
    return "/".join(_key_text(key) for key in keys)


def _key_text(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key).strip(".[]'\"")


def _access(tree: Any, keys: tuple[Any, ...], leaf: Any) -> str | None:
    """Writes the path as Python, or returns None where that does not read the leaf.

    A container that warns when it is read so is not read so.
    """
    text, value = "", tree
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for key in keys:
                step, value = _step(value, key)
                text += step
        except (KeyError, IndexError, AttributeError, TypeError, Warning):
            return None
    if value is not leaf:
        return None
    # Keys with quotes stay as Python writes them.
    return text if '"' in text or "\\'" in text else text.replace("'", '"')


def _step(value: Any, key: Any) -> tuple[str, Any]:
    """Reads one key: the Python text that does it, and what is found."""
    if isinstance(key, jax.tree_util.DictKey):
        return f"[{key.key!r}]", value[key.key]
    if isinstance(key, jax.tree_util.SequenceKey):
        return f"[{key.idx}]", value[key.idx]
    if isinstance(key, jax.tree_util.GetAttrKey):
        return f".{key.name}", getattr(value, key.name)
    raise KeyError(key)


def shape_of(value: Any) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of an array, a number or a `ShapeDtypeStruct`."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return value
    return jax.ShapeDtypeStruct(numpy.shape(value), jax.numpy.result_type(value))


def read_leaves(
    params: Any, variables: Sequence[Var], wrt: Predicate | None
) -> tuple[Leaf, ...]:
    """Reads `params`, and says of every leaf whether it is differentiated.

    Args:
        params: Arrays or `ShapeDtypeStruct`s.
        variables: The traced model's inputs, those of `params` first.
        wrt: Which leaves to differentiate, by path and value; None for all.

    Raises:
        NonFloatLeafError: A leaf that should be differentiated holds no floats.
        ComplexLeafError: A leaf that should be differentiated is complex.
        RunningStatisticsError: Without `wrt`, a leaf is a running statistic.
        NoLeavesError: No leaf is left.
    """
    inputs = tree_inputs(params)
    chosen = [wrt is None or asked(wrt, item) for item in inputs]
    statistics = _statistics(params, inputs) if wrt is None else []
    _refuse_without_derivative(inputs, chosen, statistics)
    if statistics and len(statistics) < len(inputs):
        every = [item.path for item in inputs]
        raise RunningStatisticsError(
            paths=statistics, wrt=wrt_without(statistics, every)
        )
    if not any(chosen):
        raise NoLeavesError()
    return tuple(
        _leaf(item, variable, differentiated)
        for item, variable, differentiated in zip(
            inputs, variables, chosen, strict=False
        )
    )


def asked(wrt: Predicate, item: Input) -> bool:
    """Returns what a predicate says of a leaf.

    Raises:
        ArgumentTypeError: It returns no truth value.
    """
    return verdict_of(item.path, wrt(item.path, item.value))


def _leaf(item: Input, variable: Var, differentiated: bool) -> Leaf:
    spec = shape_of(item.value)
    return Leaf(
        path=item.path,
        access=item.access,
        shape=tuple(spec.shape),
        dtype=str(spec.dtype),
        variable=variable,
        differentiated=differentiated,
    )


def _refuse_without_derivative(
    inputs: Sequence[Input], chosen: Sequence[bool], statistics: Sequence[str]
) -> None:
    """Refuses, all at once, leaves that hold no floats; complex ones before others.

    The `wrt=` that is proposed leaves out running statistics too.
    """
    dtypes = {
        item.path: shape_of(item.value).dtype
        for item, differentiated in zip(inputs, chosen, strict=True)
        if differentiated
    }
    refused = [
        path
        for path, dtype in dtypes.items()
        if not jax.numpy.issubdtype(dtype, jax.numpy.floating)
    ]
    if not refused:
        return
    every = [item.path for item in inputs]
    without = {*refused, *statistics}
    wrt = wrt_without([path for path in every if path in without], every)
    for path in refused:
        if jax.numpy.issubdtype(dtypes[path], jax.numpy.complexfloating):
            raise ComplexLeafError(path=path, dtype=str(dtypes[path]), wrt=wrt)
    raise NonFloatLeafError(
        leaves={path: str(dtypes[path]) for path in refused}, wrt=wrt
    )


def _statistics(params: Any, inputs: Sequence[Input]) -> list[str]:
    """Returns the paths of the leaves that a library marks as running statistics."""
    typed = set(_typed_statistics(params))
    return [
        item.path
        for item in inputs
        if item.path in typed or _STATISTICS_PARTS & set(item.path.split("/"))
    ]


def _typed_statistics(params: Any) -> list[str]:
    """Returns the paths of the leaves that a library's type marks as statistics."""

    def is_statistic(node: Any) -> bool:
        return any(kind.__name__ in _STATISTICS_TYPES for kind in type(node).__mro__)

    nodes, _ = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_statistic)
    return [
        path_text((*keys, *inner))
        for keys, node in nodes
        if is_statistic(node)
        for inner, _ in jax.tree_util.tree_flatten_with_path(node)[0]
    ]


def wrt_without(refused: Sequence[str], every: Sequence[str]) -> str:
    """Writes the `wrt=` that leaves out some leaves and keeps the others.

    Args:
        refused: Paths of the leaves to leave out, at least one.
        every: All paths, these included.

    Example:
        >>> wrt_without(["step"], ["step", "w"])
        "lambda path, leaf: path != 'step'"
        >>> wrt_without(["ema/a/b", "ema/w"], ["ema/a/b", "ema/w", "w"])
        "lambda path, leaf: not path.startswith('ema/')"
    """
    if len(refused) == 1:
        return f"lambda path, leaf: path != {refused[0]!r}"
    kept = set(every) - set(refused)
    folder = refused[0].partition("/")[0] + "/"
    if all(path.startswith(folder) for path in refused) and not any(
        path.startswith(folder) for path in kept
    ):
        return f"lambda path, leaf: not path.startswith({folder!r})"
    parts = {part for path in refused for part in path.split("/")}
    for part in sorted(parts):
        if all(part in path.split("/") for path in refused) and not any(
            part in path.split("/") for path in kept
        ):
            return f"lambda path, leaf: {part!r} not in path.split('/')"
    if len(refused) <= _MOST_LISTED:
        return f"lambda path, leaf: path not in {tuple(refused)!r}"
    last = sorted({path.rpartition("/")[2] for path in refused})
    if not any(path.rpartition("/")[2] in last for path in kept):
        return f"lambda path, leaf: path.rpartition('/')[2] not in {tuple(last)!r}"
    return f"lambda path, leaf: path not in {tuple(refused)!r}"
