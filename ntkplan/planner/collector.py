"""Keeping Python's garbage collector from interrupting a short computation."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses the automatic search for reference cycles, where it is on.

    Planning makes some ten thousand small records and no cycles. A full collection that
    these set off walks over all objects of JAX and of the caller, and takes longer than
    the planning itself.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
