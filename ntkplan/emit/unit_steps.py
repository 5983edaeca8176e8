"""Clusters that take every entry, written as those that take every second one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ntkplan.emit.clusters import Cluster, syntax, with_forms

_STEP = re.compile(r"::\d+")
_SLICE = re.compile(r"(\w+) = ([\w\[\]]+)\[\.\.\., (?:::?\d*, )+:\]")


def with_unit_steps(clusters: Sequence[Cluster]) -> list[Cluster]:
    """Gives clusters the form of others that differ in steps of slices alone.

    A slice in steps of one is no operation, so that a function which takes the step as
    an argument serves both.

    Args:
        clusters: All clusters of a program.
    """
    found: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
    for cluster in clusters:
        without = _without_slices(cluster.form or ())
        if without is not None:
            steps = tuple(_STEP.sub("::1", line) for line in cluster.form or ())
            found.setdefault((cluster.parameters, without), steps)
    return with_forms(clusters, found)


def _without_slices(form: Sequence[str]) -> str | None:
    """Returns the syntax of a form without its slices; None where it has none.

    Example:
        >>> sliced = ["window = a[given][..., ::2, ::2, :]", "return window @ window.T"]
        >>> _without_slices(sliced) == syntax(["return a[given] @ a[given].T"])
        True
    """
    found = [_SLICE.fullmatch(line) for line in form]
    text = "\n".join(line for line, own in zip(form, found, strict=True) if not own)
    for own in filter(None, found):
        text = re.sub(rf"\b{own[1]}\b", own[2], text)
    return syntax([text]) if any(found) else None
