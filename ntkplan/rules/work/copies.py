"""What libraries copy of a convolution's data before they multiply."""

from __future__ import annotations

import dataclasses
import math

from ntkplan.rules.work.step import Call


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copies:
    """Copies of the data of one convolution, in entries of one instance.

    Attributes:
        channels: The greater of its numbers of channels, of the data and of the result.
        windows: All windows of the data, as rows of a matrix.
        padded: The data with their padding.
    """

    channels: int
    windows: int
    padded: int

    def entries(self, window_channels: int) -> int:
        """Returns what is copied.

        Args:
            window_channels: With more channels the data are padded, with no more than
                these all windows are written out.
        """
        return self.windows if self.channels <= window_channels else self.padded


def copies_of_pull(call: Call) -> Copies | None:
    """Returns the copies for pulling a cotangent back to the data of a convolution.

    That is a convolution of the cotangent, whose result has the shape of the data. A
    kernel of one entry and groups of channels need none.

    Args:
        call: A `conv_general_dilated`.
    """
    data, kernel = call.inputs
    numbers = call.parameters["dimension_numbers"]
    groups = call.parameters["feature_group_count"]
    window = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
    if math.prod(window) == 1 or groups * call.parameters["batch_group_count"] > 1:
        return None
    result = call.result
    batch, n_in = (data.shape[axis] for axis in numbers.lhs_spec[:2])
    n_out = result.shape[numbers.out_spec[1]]
    # Strides are undone piece by piece, each with the positions of the cotangent.
    spatial = [result.shape[axis] for axis in numbers.out_spec[2:]]
    padded = math.prod(size + w - 1 for size, w in zip(spatial, window, strict=True))
    return Copies(
        channels=max(n_in, n_out),
        windows=batch * math.prod(spatial) * math.prod(window) * n_out,
        padded=batch * padded * n_out,
    )
