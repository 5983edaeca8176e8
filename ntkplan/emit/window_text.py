"""Windows of an array, as Python: cut by a function, or slices that take entries."""

from __future__ import annotations

import math

import numpy

from ntkplan.emit.expression import Expression, call, sequence, subscript
from ntkplan.emit.primitives.reduction import is_same_padding, padding_text
from ntkplan.emit.primitives.value import integers, number_text
from ntkplan.ir.statements import Cut

WINDOWS = "windows"
WINDOWS_AND_ONE = "windows_and_one"
WINDOW_PIECES = "window_pieces"
"""What functions are called: that cut windows, as such and with a one after each, and
what both do first."""


def cut_text(source: Expression, item: Cut, dtype: numpy.dtype) -> Expression:
    """Returns what cuts windows.

    Args:
        source: What they are cut from.
        item: How they are cut.
        dtype: Of the kernel, in which the scale of a bias is a number.
    """
    if item.takes_entries:
        return _slice(source, item)
    return _windows(source, item, dtype)


def cut_shape(item: Cut) -> tuple[int, ...]:
    """Returns the shape of windows as they are cut, before axes are put together."""
    if item.takes_entries:
        return item.entries_shape
    if item.bias_scale is None:
        return item.windows_shape
    rank = len(item.patches.window)
    window = math.prod(item.windows_shape[-rank - 1 :])
    return (*item.windows_shape[: -rank - 1], window + 1)


def dilates(item: Cut) -> bool:
    """Says whether windows, or what they are cut from, are dilated."""
    patches = item.patches
    return {*patches.input_dilation, *patches.window_dilation} != {1}


def pads_to_same(item: Cut) -> bool:
    """Says whether the padding of what is not dilated is `"SAME"`, and not said."""
    patches = item.patches
    return not item.says_padding and is_same_padding(
        patches.padding, item.spatial, patches.window, patches.strides
    )


def _windows(source: Expression, item: Cut, dtype: numpy.dtype) -> Expression:
    patches = item.patches
    arguments = [integers(patches.window), integers(patches.strides)]
    if dilates(item):
        arguments.append(sequence([integers(pair) for pair in patches.padding]))
    elif not pads_to_same(item):
        arguments.append(padding_text(patches.padding))
    keywords: dict[str, Expression | str] = {}
    if set(patches.input_dilation) != {1}:
        keywords["input_dilation"] = integers(patches.input_dilation)
    if set(patches.window_dilation) != {1}:
        keywords["window_dilation"] = integers(patches.window_dilation)
    if item.bias_scale not in (None, 1.0):
        keywords["scale"] = number_text(dtype.type(item.bias_scale))
    name = WINDOWS if item.bias_scale is None else WINDOWS_AND_ONE
    return call(name, source, *arguments, **keywords)


def _slice(source: Expression, item: Cut) -> Expression:
    """Takes the entries that windows of one entry are."""
    steps = [":" if step == 1 else f"::{step}" for step in item.patches.strides]
    return source if set(steps) == {":"} else subscript(source, "...", *steps, ":")
