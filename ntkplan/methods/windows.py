"""Windows of a convolution's input, cut before they are contracted."""

from __future__ import annotations

from ntkplan.errors import InternalError
from ntkplan.ir.program import Cut, Statement
from ntkplan.ir.use import Stack
from ntkplan.methods.network import Side


def cut_windows(stack: Stack, side: Side, statements: list[Statement]) -> None:
    """Adds the statement that cuts a side's windows, where its rule asks for windows."""
    use = stack.first
    if use.patches is None:
        return
    if side.activations is None or side.recorded is None:
        raise InternalError("windows of nothing", use)
    statements.append(
        Cut(
            target=side.activations,
            source=side.recorded,
            patches=use.patches,
            stacked=len(stack.uses) > 1,
            shape=tuple(use.sizes[label] for label in use.activations),
        )
    )
