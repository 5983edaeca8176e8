"""What a whole model of a library is to the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax

from tests.case import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class WholeModel:
    """A network as its library would write it, narrow but with all of its parts.

    Attributes:
        name: `library_model`, unique.
        build: From a random key to `f, params, x1, x2` with float32 leaves.
        rules: For globs of leaves, the rules that their uses follow, in the order in
            which the leaf is used. The first glob that fits counts, and each must fit
            some leaf.
        scans: Whether a scan is left in its jaxpr.
        interacts: Whether examples interact, so that the batch is one input.
        cheap: Whether it takes so little time that every method can be tried on it.
        slow: Whether it takes half a minute.
    """

    name: str
    build: Callable[[jax.Array], Problem]
    rules: Mapping[str, tuple[str, ...]]
    scans: bool = False
    interacts: bool = False
    cheap: bool = False
    slow: bool = False
