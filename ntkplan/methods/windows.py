"""Windows of a convolution's input, cut before they are contracted."""

from __future__ import annotations

from ntkplan.errors import InternalError
from ntkplan.ir.statements import Cut, Statement
from ntkplan.ir.use import Patches, Stack
from ntkplan.methods.network import Side


def cut_windows(stack: Stack, side: Side, statements: list[Statement]) -> None:
    """Adds the statement that cuts a side's windows, where its rule asks for it."""
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
            n_kept=1 + (len(stack.uses) > 1),
            spatial=stack.recorded_shape[-len(use.patches.window) - 1 : -1],
            windows_shape=_windows_shape(stack.recorded_shape, use.patches),
            shape=tuple(use.sizes[label] for label in use.activations),
        )
    )


def _windows_shape(recorded: tuple[int, ...], patches: Patches) -> tuple[int, ...]:
    """Returns `[steps, batch, *positions, *window, features]`, as far as there are."""
    n_spatial = len(patches.window)
    *batch, features = (*recorded[: -n_spatial - 1], recorded[-1])
    positions = []
    for axis, size in enumerate(recorded[-n_spatial - 1 : -1]):
        low, high = patches.padding[axis]
        span = (patches.window[axis] - 1) * patches.window_dilation[axis] + 1
        length = (size - 1) * patches.input_dilation[axis] + 1 + low + high
        positions.append((length - span) // patches.strides[axis] + 1)
    return (*batch, *positions, *patches.window, features)
