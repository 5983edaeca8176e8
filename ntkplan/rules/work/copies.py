"""What libraries copy of a convolution's data before they multiply."""

from __future__ import annotations

import math

from ntkplan.rules.work.step import Call


def copied_by_pull(call: Call) -> int:
    """Counts what is copied to pull a cotangent back to the data of a convolution.

    That is a convolution of the cotangent, whose result has the shape of the data. Of
    one with strides the cotangent is first written with zeros between its positions,
    and padded.

    Args:
        call: A `conv_general_dilated`.

    Returns:
        Entries of one instance.
    """
    data, kernel = call.inputs
    numbers = call.parameters["dimension_numbers"]
    if all(stride == 1 for stride in call.parameters["window_strides"]):
        return 0
    batch = data.shape[numbers.lhs_spec[0]]
    channels = call.result.shape[numbers.out_spec[1]]
    sizes = [data.shape[axis] for axis in numbers.lhs_spec[2:]]
    window = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
    padded = (size + w - 1 for size, w in zip(sizes, window, strict=True))
    return batch * channels * math.prod(padded)
