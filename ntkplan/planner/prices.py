"""What work costs, in figures that add up."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Price:
    """What work costs on a device.

    Attributes:
        seconds: Its time.
        flops: Floating-point operations.
        bytes_moved: Bytes read and written.
    """

    seconds: float = 0.0
    flops: float = 0.0
    bytes_moved: float = 0.0

    def __add__(self, other: Price) -> Price:
        """Returns the price of one after the other."""
        return Price(
            seconds=self.seconds + other.seconds,
            flops=self.flops + other.flops,
            bytes_moved=self.bytes_moved + other.bytes_moved,
        )
