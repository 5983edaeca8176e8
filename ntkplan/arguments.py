"""Checks of what arguments are, before anything is computed with them."""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy

from ntkplan.errors import ArgumentTypeError

_WRT = "a function of a leaf's path and the leaf, which returns True or False"
_WRT_EXAMPLE = 'For example wrt=lambda path, leaf: path.startswith("head/")'


def require_function(name: str, value: object, wanted: str, hint: str = "") -> None:
    """Checks that an argument can be called.

    Args:
        name: The argument.
        value: What was given.
        wanted: What it has to be, in words.
        hint: What to do, as a sentence without its full stop.

    Raises:
        ArgumentTypeError: It cannot.
    """
    if not callable(value):
        raise ArgumentTypeError(name=name, value=value, wanted=wanted, hint=hint)


def whole_number(name: str, value: object, wanted: str = "a whole number") -> int:
    """Returns a whole number as Python's own.

    Args:
        name: The argument.
        value: What was given: an `int`, or NumPy's.
        wanted: What it has to be, in words.

    Raises:
        ArgumentTypeError: It is none.

    Example:
        >>> whole_number("tile1", numpy.int32(3))
        3
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        pass
    raise ArgumentTypeError(name=name, value=value, wanted=wanted)


def parse_batch_axis(batch_axis: object) -> int | None:
    """Returns the axis that counts examples, or None.

    Raises:
        ArgumentTypeError: It is neither a whole number nor None.
    """
    if batch_axis is None:
        return None
    return whole_number(
        "batch_axis", batch_axis, "a whole number, the axis that counts examples, or "
        "None"
    )  # fmt: skip


def require_arrays(name: str, tree: Any, *, examples: bool = False) -> None:
    """Checks that the leaves of a tree are arrays, numbers, or shapes of arrays.

    Args:
        name: The tree.
        tree: What was given.
        examples: Whether every leaf has an axis of examples, so that a list of numbers
            is an array that was not made one.

    Raises:
        ArgumentTypeError: A leaf is something else; with its place.
    """
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if examples and keys and isinstance(leaf, numbers.Number):
            raise ArgumentTypeError(
                name=name,
                value=tree,
                wanted="an array or a tree of arrays, not of single numbers",
                hint=f"Make it an array: jnp.asarray({name})",
            )
        if not _is_array(leaf):
            raise ArgumentTypeError(
                name=name + jax.tree_util.keystr(keys),
                value=leaf,
                wanted="an array or a jax.ShapeDtypeStruct",
            )


def _is_array(leaf: object) -> bool:
    is_typed = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return True
    if isinstance(leaf, str | bytes | type) or not (
        is_typed or isinstance(leaf, numbers.Number) or hasattr(leaf, "__jax_array__")
    ):
        return False
    try:
        jax.numpy.result_type(leaf)
    except (TypeError, ValueError):
        return False
    return True


def require_methods(methods: object) -> None:
    """Checks that `methods=` is a name, several, or names by pattern.

    Raises:
        ArgumentTypeError: It is something else.
    """
    if isinstance(methods, Mapping):
        given = (*methods.keys(), *methods.values())
    elif methods is None or isinstance(methods, str):
        given = ()
    elif isinstance(methods, list | tuple | set | frozenset):
        given = tuple(methods)
    else:
        given = (methods,)
    if not all(isinstance(item, str) for item in given):
        raise ArgumentTypeError(
            name="methods",
            value=methods,
            wanted="the name of a method, several names, or a dictionary from patterns "
            "of paths to names",
        )


def require_predicate(wrt: object) -> None:
    """Checks that `wrt=` is None or can be called with a path and a leaf.

    Raises:
        ArgumentTypeError: It cannot.
    """
    if wrt is None:
        return
    if not isinstance(wrt, Callable):
        raise ArgumentTypeError(name="wrt", value=wrt, wanted=_WRT, hint=_WRT_EXAMPLE)
    try:
        inspect.signature(wrt).bind("path", None)
    except TypeError as error:
        raise ArgumentTypeError(
            name="wrt",
            value=wrt,
            wanted=f"{_WRT} ({error} where it is called with both)",
            hint=_WRT_EXAMPLE,
        ) from None
    except ValueError:
        pass  # No signature can be had: what was written in C, for instance.


def verdict_of(path: str, verdict: object) -> bool:
    """Returns what `wrt=` says of a leaf.

    Raises:
        ArgumentTypeError: It is no truth value.
    """
    if isinstance(verdict, bool | numpy.bool_):
        return bool(verdict)
    if isinstance(verdict, numpy.ndarray | jax.Array) and (
        verdict.shape == () and verdict.dtype == bool
    ):
        return bool(verdict)
    raise ArgumentTypeError(
        name=f"what wrt= returns for {path or 'params'}",
        value=verdict,
        wanted="True or False",
    )
