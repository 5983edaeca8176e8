"""Rule for `conv_general_dilated` with the parameter as its kernel.

A convolution is a matrix product of windows of its input with the kernel: value
`[positions, groups, out]`, activations `[positions, window, groups, in]`, parameter
`[window, in, groups, out]`.
"""

from __future__ import annotations

from ntkplan._jax import array_shape
from ntkplan.ir.use import Patches
from ntkplan.rules.labelling import AxisLabels, Labelling
from ntkplan.rules.step import Step


def convolution(step: Step) -> Labelling | None:
    """Labels a convolution; None where the parameter is the input, not the kernel."""
    equation = step.equation
    if step.operand != 1 or equation.parameters["batch_group_count"] != 1:
        return None
    image, kernel = equation.inputs
    numbers = equation.parameters["dimension_numbers"]
    groups = equation.parameters["feature_group_count"]
    image_spec, kernel_spec, value_spec = (
        tuple(numbers.lhs_spec),
        tuple(numbers.rhs_spec),
        tuple(numbers.out_spec),
    )
    (value,) = equation.outputs
    n_spatial = len(kernel_spec) - 2
    window = tuple(array_shape(kernel)[axis] for axis in kernel_spec[2:])
    n_in = array_shape(kernel)[kernel_spec[1]]
    sizes = {"batch": array_shape(image)[image_spec[0]], "groups": groups, "in": n_in}
    sizes["out"] = array_shape(kernel)[kernel_spec[0]] // groups
    for number in range(n_spatial):
        sizes[f"position{number}"] = array_shape(value)[value_spec[2 + number]]
        sizes[f"window{number}"] = window[number]
    positions = tuple((f"position{number}",) for number in range(n_spatial))
    windows = tuple((f"window{number}",) for number in range(n_spatial))
    return Labelling(
        rule="conv_general_dilated",
        value=_placed(value_spec, (("batch",), ("groups", "out"), *positions)),
        parameter=_placed(kernel_spec, (("groups", "out"), ("in",), *windows)),
        recorded=image,
        activations=(("batch",), *positions, *windows, ("groups", "in")),
        patches=Patches(
            order=(image_spec[0], *image_spec[2:], image_spec[1]),
            window=window,
            strides=tuple(equation.parameters["window_strides"]),
            padding=tuple(
                (int(low), int(high)) for low, high in equation.parameters["padding"]
            ),
            input_dilation=tuple(equation.parameters["lhs_dilation"]),
            window_dilation=tuple(equation.parameters["rhs_dilation"]),
        ),
        sizes=sizes,
    )


def _placed(
    spec: tuple[int, ...], labels: tuple[AxisLabels, ...]
) -> tuple[AxisLabels, ...]:
    """Puts labels, given in the order of a dimension spec, in the order of the axes."""
    by_axis = dict(zip(spec, labels, strict=True))
    return tuple(by_axis[axis] for axis in range(len(spec)))
