"""What a measured network is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A model, how it starts, and what it takes.

    Attributes:
        init: Makes the parameters from a key.
        apply: Maps parameters and `[n, *example_shape]` to `[n, n_outputs]`.
        example_shape: Shape of one example.
        vocabulary: Number of tokens, where an example is whole numbers; None for
            normally distributed numbers.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    example_shape: tuple[int, ...]
    vocabulary: int | None = None
