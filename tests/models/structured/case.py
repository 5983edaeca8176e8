"""A model of which it is known how each of its leaves is to be followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tests.case import Case


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructuredCase(Case):
    """A small model whose leaves keep their structure, or do not for a known reason.

    Attributes:
        rules: What the plan is to name for every leaf: what multiplies it on its way
            to the data, and where it meets them.
        n_uses: How many uses there are of the leaves with more than one.
        opaque: Why a leaf that is opaque is so, in words of the plan's.
    """

    rules: Mapping[str, tuple[str, ...]]
    n_uses: Mapping[str, int] = dataclasses.field(default_factory=dict)
    opaque: Mapping[str, str] = dataclasses.field(default_factory=dict)


DOT = ("dot_general",)
"""What a plan says of the weight of a matrix product."""
