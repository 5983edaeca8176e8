"""What both sides make of a case: a compiled kernel, and what it took."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A compiled kernel.

    Attributes:
        compiled: The executable.
        arguments: What it is called with.
        facts: What is known of it before it has run, as JSON can hold it.
    """

    compiled: Callable[..., Any]
    arguments: tuple[Any, ...]
    facts: dict[str, Any]
