"""Rule for `conv_general_dilated`, with the parameter as its kernel or its input.

A convolution is a matrix product of windows of its input with the kernel: value
`[positions, groups, out]`, activations `[positions, window, groups, in]`, parameter
`[window, in, groups, out]`.

With the parameter as the input, an entry of it is in as many windows as overlap, at
another place in each, which no labels can say. They can where a window is one entry
(value `[positions, groups, out]`, parameter `[positions, groups, in]`, activations
`[in, groups, out]`), and where there is one window, of everything. Elsewhere the
input is opaque, which is the cheapest that can be had: its Jacobian is the transposed
convolution of the cotangents with the kernel, one step of the backward sweep.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ntkplan._jax import array_shape
from ntkplan.ir.use import Patches
from ntkplan.rules.labelling import AxisLabels, Labelling
from ntkplan.rules.step import Step


def convolution(step: Step) -> Labelling | None:
    """Labels a convolution; None for an input whose windows overlap."""
    layout = _layout(step)
    return _kernel(step, layout) if step.operand == 1 else _image(step, layout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """Labels of a convolution's axes, in the orders of its dimension specs.

    Attributes:
        image_spec: Which axes of the input are batch, features and space.
        kernel_spec: Which axes of the kernel are out, in and space.
        value_spec: Which axes of the result are batch, features and space.
        image: Labels of the input's batch and features.
        kernel: Labels of the kernel's out and in.
        value: Labels of the result's batch and features.
        sizes: Lengths of these labels; `groups` are of features or of batches.
    """

    image_spec: tuple[int, ...]
    kernel_spec: tuple[int, ...]
    value_spec: tuple[int, ...]
    image: tuple[AxisLabels, AxisLabels]
    kernel: tuple[AxisLabels, AxisLabels]
    value: tuple[AxisLabels, AxisLabels]
    sizes: dict[str, int]


def _layout(step: Step) -> _Layout:
    """Labels all axes but those of space.

    A group of the kernel's out axis sees a group of the input's features, or of its
    batch.
    """
    parameters = step.equation.parameters
    numbers: Any = parameters["dimension_numbers"]
    image_spec, kernel_spec = tuple(numbers.lhs_spec), tuple(numbers.rhs_spec)
    image, kernel = map(array_shape, step.equation.inputs)
    batch_groups = parameters["batch_group_count"]
    groups = batch_groups * parameters["feature_group_count"]
    batch: AxisLabels = ("batch",)
    features: AxisLabels = ("groups", "in")
    if batch_groups > 1:
        batch, features = ("groups", "batch"), ("in",)
    return _Layout(
        image_spec=image_spec,
        kernel_spec=kernel_spec,
        value_spec=tuple(numbers.out_spec),
        image=(batch, features),
        kernel=(("groups", "out"), ("in",)),
        value=(("batch",), ("groups", "out")),
        sizes={
            "batch": image[image_spec[0]] // batch_groups,
            "groups": groups,
            "in": kernel[kernel_spec[1]],
            "out": kernel[kernel_spec[0]] // groups,
        },
    )


def _kernel(step: Step, layout: _Layout) -> Labelling:
    """Labels a convolution whose kernel is the parameter."""
    image, kernel = step.equation.inputs
    parameters = step.equation.parameters
    window = tuple(array_shape(kernel)[axis] for axis in layout.kernel_spec[2:])
    sizes = dict(layout.sizes)
    for number, size in enumerate(window):
        sizes[f"position{number}"] = step.result_shape[layout.value_spec[2 + number]]
        sizes[f"window{number}"] = size
    positions = tuple((f"position{number}",) for number in range(len(window)))
    windows = tuple((f"window{number}",) for number in range(len(window)))
    batch, features = layout.image
    spec = layout.image_spec
    return Labelling(
        rule="conv_general_dilated",
        value=_placed(layout.value_spec, (*layout.value, *positions)),
        parameter=_placed(layout.kernel_spec, (*layout.kernel, *windows)),
        recorded=image,
        activations=(batch, *positions, *windows, features),
        patches=Patches(
            order=(spec[0], *spec[2:], spec[1]),
            window=window,
            strides=tuple(parameters["window_strides"]),
            padding=_padding(parameters),
            input_dilation=tuple(parameters["lhs_dilation"]),
            window_dilation=tuple(parameters["rhs_dilation"]),
        ),
        sizes=sizes,
    )


def _image(step: Step, layout: _Layout) -> Labelling | None:
    """Labels a convolution whose input is the parameter, where no windows overlap."""
    image, kernel = step.equation.inputs
    parameters = step.equation.parameters
    sizes = dict(layout.sizes)
    of_image: list[AxisLabels] = []
    of_kernel: list[AxisLabels] = []
    of_value: list[AxisLabels] = []
    for number, padding in enumerate(_padding(parameters)):
        label = f"space{number}"
        length = array_shape(image)[layout.image_spec[2 + number]]
        window = array_shape(kernel)[layout.kernel_spec[2 + number]]
        positions = step.result_shape[layout.value_spec[2 + number]]
        in_place = padding == (0, 0) and parameters["lhs_dilation"][number] == 1
        if not in_place or (window, positions) not in ((1, length), (length, 1)):
            return None
        of_image.append((label,))
        of_kernel.append((label,) if window == length else ())
        of_value.append((label,) if positions == length else ())
        sizes[label] = length
    return Labelling(
        rule="conv_general_dilated",
        value=_placed(layout.value_spec, (*layout.value, *of_value)),
        parameter=_placed(layout.image_spec, (*layout.image, *of_image)),
        recorded=kernel,
        activations=_placed(layout.kernel_spec, (*layout.kernel, *of_kernel)),
        sizes=sizes,
    )


def _padding(parameters: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    return tuple((int(low), int(high)) for low, high in parameters["padding"])


def _placed(
    spec: tuple[int, ...], labels: tuple[AxisLabels, ...]
) -> tuple[AxisLabels, ...]:
    """Puts labels, given in the order of a dimension spec, in the order of the axes."""
    by_axis = dict(zip(spec, labels, strict=True))
    return tuple(by_axis[axis] for axis in range(len(spec)))
