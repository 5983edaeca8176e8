"""The table of models of which it is known how their leaves are followed."""

from __future__ import annotations

from tests.models.structured import branches, factors, lookups, loops, parts, products
from tests.models.structured.case import StructuredCase

CASES: tuple[StructuredCase, ...] = (
    *parts.CASES,
    *factors.CASES,
    *products.CASES,
    *lookups.CASES,
    *loops.CASES,
    *branches.CASES,
)
