"""`vmap_axes`: where the examples are in inputs, outputs and keyword arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy

from ntkplan.errors import VmapAxesError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleAxes:
    """The three parts of `vmap_axes`, each an axis, a tree of axes, or None.

    Attributes:
        x: Of the inputs.
        outputs: Of what the model returns.
        keywords: Of keyword arguments, by name, or one axis for all of them.
    """

    x: Any
    outputs: Any
    keywords: Mapping[str, Any] | int


def read_vmap_axes(vmap_axes: Any) -> ExampleAxes:
    """Reads `vmap_axes`.

    Args:
        vmap_axes: A triple `(x, outputs, keywords)`; or what holds for inputs and
            outputs alike, keyword arguments having no examples.

    Example:
        >>> read_vmap_axes(0)
        ExampleAxes(x=0, outputs=0, keywords={})
    """
    if isinstance(vmap_axes, tuple) and len(vmap_axes) == 3:
        x, outputs, keywords = vmap_axes
        keywords = {} if keywords is None else keywords
        if not isinstance(keywords, int | Mapping):
            raise VmapAxesError(
                what=f"the third part of vmap_axes is {keywords!r}",
                hint="Give a dictionary from names of keyword arguments to axes",
            )
        return ExampleAxes(x=x, outputs=outputs, keywords=keywords)
    return ExampleAxes(x=vmap_axes, outputs=vmap_axes, keywords={})


def axes_of_tree(name: str, axes: Any, tree: Any) -> list[int | None]:
    """Returns the example axis of every array of a tree, counted from the front.

    Args:
        name: What the tree is, for messages.
        axes: One axis, None, or a tree of axes that `tree` continues.
        tree: Arrays or their shapes.

    Raises:
        VmapAxesError: The trees differ, or an array has no such axis.

    Example:
        >>> axes_of_tree("x1", -1, {"a": numpy.ones((2, 3)), "b": numpy.ones(3)})
        [1, 0]
    """

    def absent(value: Any) -> bool:
        return value is None

    flat, structure = jax.tree.flatten(axes, is_leaf=absent)
    try:
        parts = structure.flatten_up_to(tree)
    except ValueError as error:
        raise VmapAxesError(
            what=f"vmap_axes do not fit the tree of {name}: {error}",
            hint="Give one axis, or a tree of axes of the same structure",
        ) from None
    found: list[int | None] = []
    for axis, part in zip(flat, parts, strict=True):
        for array in jax.tree.leaves(part):
            found.append(None if axis is None else _positive(name, axis, array))
    return found


def axes_of_keywords(
    axes: Mapping[str, Any] | int, arguments: Mapping[str, Any]
) -> list[int | None]:
    """Returns the example axis of every array among the keyword arguments.

    Raises:
        VmapAxesError: A name is not among the arguments, or as for `axes_of_tree`.
    """
    if isinstance(axes, int):
        return axes_of_tree("the keyword arguments", axes, dict(arguments))
    for name in axes:
        if name not in arguments:
            raise VmapAxesError(
                what=f"vmap_axes name the keyword argument {name!r}, which was not "
                "passed",
                hint=f"Passed were: {', '.join(arguments) or 'none'}",
            )
    return [
        axis
        for name in sorted(arguments)
        for axis in axes_of_tree(name, axes.get(name), arguments[name])
    ]


def _positive(name: str, axis: Any, array: Any) -> int:
    rank = numpy.ndim(array)
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise VmapAxesError(
            what=f"vmap_axes hold {axis!r} for {name}",
            hint="Give axes as integers, or None",
        )
    if not -rank <= axis < rank:
        raise VmapAxesError(
            what=f"vmap_axes say axis {axis}, and an array of {name} has the shape "
            f"{list(numpy.shape(array))}",
            hint="Give an axis that counts examples, or vmap_axes=None",
        )
    return axis % rank
