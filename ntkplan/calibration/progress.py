"""A progress bar, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import rich.console
import rich.progress


class Bar:
    """Shows phases and steps on standard error; nothing where that is no terminal."""

    def __init__(self, shown: rich.progress.Progress) -> None:
        self._shown = shown
        self._task: rich.progress.TaskID | None = None

    def phase(self, name: str, steps: int) -> None:
        """Begins a phase of so many steps."""
        if self._task is not None:
            self._shown.remove_task(self._task)
        self._task = self._shown.add_task(name, total=steps)

    def advance(self) -> None:
        """Ends a step; several threads may do so."""
        if self._task is not None:
            self._shown.advance(self._task)


@contextlib.contextmanager
def progress_bar() -> Iterator[Bar]:
    """Shows a bar while the block runs."""
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    ) as shown:
        yield Bar(shown)
