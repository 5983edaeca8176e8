"""The formats in which a plan returns its source."""

from __future__ import annotations

from typing import Any

from ntkplan.errors import UnknownOptionError
from ntkplan.source_html import source_page

FORMATS = ("python", "html")
"""What `plan.source` returns."""


def formatted(plan: Any, format: str) -> str:  # noqa: A002
    """Returns the source of a `Plan` or a `TreePlan` in a format.

    Raises:
        UnknownOptionError: There is no such format.
    """
    text = plan.module.text
    if format == "html":
        return source_page(text, plan.layers, plan.cost, plan.headline)
    if format != "python":
        raise UnknownOptionError(option="format", value=format, known=FORMATS)
    return text
